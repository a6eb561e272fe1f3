"""Claims of flushers on the lines they are sending, so that no two send the same line.

A claim is a small file beside the spool that names the claimed range. Its flusher keeps it locked while it lives. A
claim whose lock is free belongs to a dead flusher and expires at once, whatever its age. If a full disk prevents
writing the range, the empty file claims everything. Every call is made under the spool's lock.
"""

from __future__ import annotations

import os
import sys
import uuid
from typing import NamedTuple, Optional

from vigie_client.disk.durable import BINARY, remove_file, write_all
from vigie_client.disk.locks import FileLock
from vigie_client.spool.lines import Line


class Range(NamedTuple):
    """Offsets from `start` up to, but excluding, `end`."""

    start: int
    end: int

    def contains(self, line: Line) -> bool:
        return self.start <= line.start < self.end


NOTHING, ALL = Range(0, 0), Range(0, sys.maxsize)


class FlushClaim:
    """The claim of this flush until `end()`. `spool_end` is the offset at which the spool ended when it began."""

    def __init__(self, prefix: str, spool_end: int) -> None:
        self.spool_end = spool_end
        self.path = f"{prefix}{os.getpid()}-{uuid.uuid4().hex}"
        self._lock = FileLock(self.path)
        self._lock.acquire()
        try:
            self.set_range(NOTHING)
        except BaseException:
            self.end()
            raise

    def set_range(self, claimed: Range) -> None:
        """Overwrite the claimed range in place, which needs no space on a full disk."""
        descriptor = os.open(self.path, os.O_WRONLY | BINARY)
        try:
            write_all(descriptor, b"%020d %020d\n" % claimed)
        except OSError:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def end(self) -> None:
        """Give up the claim and delete the file. Idempotent."""
        if self._lock.release():  # before unlink: Windows cannot delete an open file
            remove_file(self.path)


def claimed_ranges(prefix: str, *, excluded: Optional[FlushClaim] = None) -> list[Range]:
    """Return the ranges claimed by living flushers, and delete the claims of dead ones."""
    directory, name = os.path.split(prefix)
    with os.scandir(directory) as entries:
        paths = [entry.path for entry in entries if entry.name.startswith(name)]
    ranges = (_live_range(path) for path in paths if excluded is None or path != excluded.path)
    return [claimed for claimed in ranges if claimed is not None]


def _live_range(path: str) -> Optional[Range]:
    lock = FileLock(path)
    if lock.acquire(blocking=False):
        lock.release()
        os.unlink(path)
        return None
    with open(path, encoding="ascii") as file:
        numbers = file.read().split()
    return Range(int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else ALL
