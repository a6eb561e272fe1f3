"""Keeps the portal's processes running, and ends them together. It never touches the database.

It has loaded all code, and forks the processes from itself: they share its memory and start at once. So it must never
have a thread, whose locks a fork would copy.

The group of a main process that died is killed before the next one starts: its children would work beside those of its
successor.
"""

import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from portal.supervisor import lifeline
from portal.supervisor.children import ENDING, Child, Component

log = logging.getLogger("vigie.up")
LOOK_EVERY = 0.1


class Supervisor:
    """`grace` is how many seconds the processes get to end what they are doing; a second signal ends all at once."""

    def __init__(self, components: Sequence[Component], grace: float) -> None:
        self.children = [Child(component) for component in components]
        self.grace = grace
        self.signals = 0
        # Never read or written: the writing end closes with this process, and that is the message.
        self.lifeline, self.held = os.pipe()

    def run(self) -> int:
        """Supervise until a signal asks to stop or a process can't be kept running; return the exit status."""
        for number in ENDING:
            signal.signal(number, self.note_signal)
        gc.collect()
        gc.freeze()  # a collection in a child would write to all these objects, and so copy them
        while not self.signals and not self.failed() and not lifeline.is_broken():
            self.look(time.monotonic())
            time.sleep(LOOK_EVERY)
        failed = self.failed()
        self.end()
        return 1 if failed else 0

    def note_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1

    def failed(self) -> bool:
        return any(child.has_failed for child in self.children)

    def look(self, now: float) -> None:
        """Reap what ended, and start what is due."""
        self.reap(now)
        for child in self.children:
            if child.due is not None and child.due <= now and not child.has_failed:
                child.start(now, self.hand_over_lifeline)
                log.info("%s started", child.component.name, extra={"pid": child.pid})

    def hand_over_lifeline(self) -> None:
        """Give a child its end of the lifeline. It must not hold the other, or never feel the supervisor's end."""
        os.close(self.held)
        os.environ[lifeline.VARIABLE] = str(self.lifeline)

    def reap(self, now: float) -> None:
        by_pid = {child.pid: child for child in self.children}
        for pid in ended_children():
            child = by_pid.get(pid)
            if child is None:  # somebody's orphan, if we are the container's first process
                os.waitpid(pid, 0)
                continue
            code = child.ended(now)
            level = logging.INFO if self.signals and code == 0 else logging.ERROR
            log.log(level, "%s ended with %s", child.component.name, code)
            if child.has_failed:
                log.critical("%s cannot be kept running: the portal ends", child.component.name)

    def end(self) -> None:
        """SIGTERM to each main process, SIGKILL to the groups of those that have not ended within the grace."""
        deadline, asked = time.monotonic() + self.grace, self.signals
        for child in self.children:
            child.ask_to_end()
        while self.running() and time.monotonic() < deadline and self.signals <= max(asked, 1):
            if lifeline.is_broken():
                deadline = min(deadline, time.monotonic() + lifeline.ORPHAN_GRACE_SECONDS)
            self.reap(time.monotonic())
            time.sleep(LOOK_EVERY)
        for child in self.running():
            log.error("%s did not end in time", child.component.name)
            child.signal_group(signal.SIGKILL)
        while self.running():
            self.reap(time.monotonic())
            time.sleep(LOOK_EVERY)

    def running(self) -> list[Child]:
        return [child for child in self.children if child.pid]


def ended_children() -> Iterator[int]:
    """The ids of our children that have ended, each left unreaped for whoever asks."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            yield ended.si_pid
