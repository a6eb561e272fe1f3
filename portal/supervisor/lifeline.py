"""The lifeline: a pipe whose writing end the supervisor alone holds, so that its end is felt however it came.

Each process the supervisor starts leads a process group of its own. When the lifeline breaks, it ends like on SIGTERM,
and its whole group with it after a grace.
"""

import os
import select
import signal
import threading
import time
from typing import NoReturn

VARIABLE = "VIGIE_LIFELINE"
# Nobody is left to restart anything, and what was being done will be done again: there is no point in long goodbyes.
ORPHAN_GRACE_SECONDS = 15.0


def lead_group() -> None:
    """Make this process the leader of a group of its own, which its end may then take along."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def end_group() -> NoReturn:
    """Kill this process and all that it started, at once."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise SystemExit(1)  # not reached


def is_broken() -> bool:
    """Return True if the supervisor has ended, for a process that forks and therefore can't have a thread."""
    descriptor = os.environ.get(VARIABLE)
    return descriptor is not None and bool(select.select([int(descriptor)], [], [], 0)[0])


def watch_lifeline() -> None:
    """Watch the lifeline, if there is one, from a thread. Call it after the last fork, which copies no thread."""
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is not None:
        threading.Thread(target=end_when_broken, args=(int(descriptor),), name="lifeline", daemon=True).start()


def end_when_broken(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_SECONDS)
    end_group()
