"""What the living flushers of a spool are sending just now, so that no other sends it too.

A flight is a small file beside the spool, locked by its owner for as long as it lives and naming the part of the spool
in its hands. A flight whose lock is free is one whose owner died: it counts for nothing, at once, whatever its age.
On a full disk a flight cannot be written: an empty one holds all. Every call is made under the spool's lock.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from typing import NamedTuple, Optional

from vigie_client.disk.durable import BINARY, write_all
from vigie_client.disk.locks import FileLock
from vigie_client.spool.lines import Line


class Part(NamedTuple):
    """From the offset `start` up to `end`."""

    start: int
    end: int

    def holds(self, line: Line) -> bool:
        return self.start <= line.start < self.end


NOTHING, ALL = Part(0, 0), Part(0, sys.maxsize)


class Flight:
    """This flusher's own flight, from its making to `end()`. `until` is the offset where its spool ended then."""

    def __init__(self, prefix: str, until: int) -> None:
        self.until = until
        self.path = f"{prefix}{os.getpid()}-{uuid.uuid4().hex}"
        self._lock = FileLock(self.path)
        self._lock.acquire()
        try:
            self.hold(NOTHING)
        except BaseException:
            self.end()
            raise

    def hold(self, part: Part) -> None:
        """Write the part in its place: what fits once fits again on a disk that is full by now."""
        descriptor = os.open(self.path, os.O_WRONLY | BINARY)
        try:
            write_all(descriptor, b"%020d %020d\n" % part)
        except OSError:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        self.hold(NOTHING)

    def end(self) -> None:
        """Free what is held. A second time does nothing."""
        if self._lock.release():  # first: Windows deletes no open file
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def held_ranges(prefix: str, *, but: Optional[Flight] = None) -> list[Part]:
    """The parts that the living hold, sweeping away the flights of the dead."""
    directory, name = os.path.split(prefix)
    with os.scandir(directory) as entries:
        paths = [entry.path for entry in entries if entry.name.startswith(name)]
    parts = (_range_of_living(path) for path in paths if but is None or path != but.path)
    return [part for part in parts if part is not None]


def _range_of_living(path: str) -> Optional[Part]:
    lock = FileLock(path)
    if lock.acquire(blocking=False):
        lock.release()
        os.unlink(path)
        return None
    with open(path, encoding="ascii") as file:
        numbers = file.read().split()
    return Part(int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else ALL
