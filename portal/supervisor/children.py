"""One supervised process: its group, its restarts, its end."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LONGEST_PAUSE = 30.0
# A process that lived this long had started well: whatever ended it, the next one starts with a clean record.
SETTLED_AFTER = 30.0
MOST_FAILURES = 6


@dataclass(frozen=True)
class Component:
    """A child process to run. It inherits the given descriptors and the lifeline's."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()


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
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def has_failed(self) -> bool:
        return self.failures >= MOST_FAILURES

    def start(self, now: float, lifeline: int, variable: str) -> None:
        """Start it in a session of its own: Ctrl-C in a terminal reaches only the supervisor, which stops all."""
        self.process = subprocess.Popen(
            self.component.command,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.component.environment, variable: str(lifeline)},
            pass_fds=(lifeline, *self.component.descriptors),
            start_new_session=True,
        )
        self.started, self.due = now, None

    def ended(self, now: float) -> int:
        """Note the end of the process, kill what is left of its group, and return its exit status.

        Call it while the process is a zombie: until it is reaped, nobody else can get its group's number.
        """
        self.signal_group(signal.SIGKILL)
        code = self.process.wait() if self.process else 0
        self.process = None
        self.failures = 1 if now - self.started >= SETTLED_AFTER else self.failures + 1
        self.due = now + restart_pause(self.failures)
        return code

    def ask_to_end(self) -> None:
        """Signal the main process only: it ends its own children in order."""
        if self.process:
            os.kill(self.process.pid, signal.SIGTERM)

    def signal_group(self, number: int) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
