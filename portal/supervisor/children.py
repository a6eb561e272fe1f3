"""One supervised process: its group, its restarts, its end."""

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

log = logging.getLogger("vigie.up")
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LONGEST_PAUSE = 30.0
# A process that lived this long had started well: whatever ended it, the next one starts with a clean record.
SETTLED_AFTER = 30.0
MOST_FAILURES = 6


@dataclass(frozen=True)
class Component:
    """A part of the portal. `run` is called in a process of its own, forked from the supervisor."""

    name: str
    run: Callable[[], object]


def restart_pause(failures: int) -> float:
    """Return the seconds before the next start, after so many short lives in a row."""
    return min(LONGEST_PAUSE, 0.5 * 2.0 ** (failures - 1))


@dataclass
class Child:
    """`due` is the moment of its next start, None while it runs. Moments are of the monotonic clock."""

    component: Component
    due: float | None = 0.0
    started: float = 0.0
    failures: int = 0
    pid: int | None = None

    @property
    def has_failed(self) -> bool:
        return self.failures >= MOST_FAILURES

    def start(self, now: float, prepare: Callable[[], object]) -> None:
        """Fork it. `prepare` is called first in the new process."""
        # A signal that came before the child has its own handlers would be noted by a copy of the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            pid = os.fork()
            if pid == 0:
                become(self.component, prepare)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        self.pid, self.started, self.due = pid, now, None

    def ended(self, now: float) -> int:
        """Note the end of the process, kill what is left of its group, and return its exit status.

        Call it while the process is a zombie: until it is reaped, nobody else can get its group's number.
        """
        self.signal_group(signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) if self.pid else 0
        self.pid = None
        self.failures = 1 if now - self.started >= SETTLED_AFTER else self.failures + 1
        self.due = now + restart_pause(self.failures)
        return code

    def ask_to_end(self) -> None:
        """Signal the main process only: it ends its own children in order."""
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)

    def signal_group(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


def become(component: Component, prepare: Callable[[], object]) -> NoReturn:
    """Be the component from here on, in a session of its own: Ctrl-C in a terminal reaches only the supervisor.

    Processes that it forks leave by here too, such as gunicorn's workers, which raise SystemExit.
    """
    code = 1
    try:
        os.setsid()
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        name_process(component.name)
        prepare()
        component.run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        log.exception("%s failed", component.name)
    finally:
        # Python's own end would free every object, and so copy every page that is shared with the supervisor.
        try:
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        finally:  # whatever happened, this process must not go on as a second supervisor
            os._exit(code)


def name_process(name: str) -> None:
    """Show `vigie-NAME` in ps and top instead of the supervisor's command line (`ps -e`, `ps -o comm`)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"vigie-{name}"[:15])
