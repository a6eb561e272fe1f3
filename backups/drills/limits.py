"""The limits of a drill: time and disk in the sandbox, memory in the process itself."""

from __future__ import annotations

import math
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from backups.drills.outcomes import Aborted, Reason

MEMORY_BYTES = 1024 * 1024 * 1024
TIMES_UNPACKED, LEAST_BYTES = 10, 1024 * 1024 * 1024
CHECKED_EVERY = 0.25
TIME_IS_UP: Reason = {"code": "time_is_up"}
DISK_IS_FULL: Reason = {"code": "disk_is_full"}
SPACE_IS_LOW: Reason = {"code": "space_is_low"}
OUT_OF_MEMORY: Reason = {"code": "out_of_memory"}


def limit_memory() -> None:
    """Let this process fail with MemoryError before it takes the machine's memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold rows


def free_bytes(folder: str) -> float:
    """Return the free space of the folder's disk, which is infinite for network stores that report none."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else math.inf


@dataclass
class Limits:
    """The longest time of a drill, and the largest size of its database in bytes. `reached` names the limit.

    Without `fixed_bytes`, that is ten times what has been unpacked so far, `unpacked` bytes. The disks of `folder` and
    of `server_folders` keep `reserve` bytes free for the portal. A dump is to blame only if what was measured as
    its own is larger than allowed: whoever else took the space, the sandbox is unavailable.
    """

    seconds: float
    fixed_bytes: int | None
    folder: str = ""
    reserve: int = 0
    unpacked: int = 0
    started: float = field(default_factory=time.monotonic)
    reached: Reason | None = None
    looked: float = 0.0
    server_folders: list[str] = field(default_factory=list)

    @property
    def max_bytes(self) -> int:
        return self.fixed_bytes or max(TIMES_UNPACKED * self.unpacked, LEAST_BYTES)

    def is_over(self) -> bool:
        now = time.monotonic()
        if self.reached:
            return True
        if now > self.started + self.seconds:
            self.reached = TIME_IS_UP
        elif now > self.looked + CHECKED_EVERY:
            self.looked = now
            folders = [folder for folder in (self.folder, *self.server_folders) if folder]
            if any(free_bytes(folder) < self.reserve for folder in folders):
                self.reached = SPACE_IS_LOW
        return bool(self.reached)

    def note_size(self, size: int) -> None:
        if not self.reached and size > self.max_bytes:
            self.reached = DISK_IS_FULL

    def raise_if_reached(self) -> None:
        """Raises Aborted."""
        if self.is_over() and self.reached:
            raise Aborted(self.reached)

    @contextmanager
    def watch(self, measure: Callable[[], int], abort: Callable[[], None]) -> Iterator[None]:
        """Measure the restored database from another thread during the block, and abort it at a limit."""
        done = threading.Event()

        def watching() -> None:
            while not done.wait(CHECKED_EVERY):
                if not self.reached:
                    self.note_size(measure())
                if self.is_over():
                    abort()

        watcher = threading.Thread(target=watching, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
