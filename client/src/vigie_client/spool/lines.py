"""The lines of a spool: one JSON payload each. A line that is done with is commented out by its first byte.

Nothing here locks; every caller holds the spool's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vigie_client.disk.durable import BINARY, replace_file, sync_directory, write_all

DONE = b"#"


class Line(NamedTuple):
    """A waiting line: its bytes, and where it stands in the file (from `start` up to `end`, the next line's start)."""

    start: int
    end: int
    body: bytes


class LineTotals(NamedTuple):
    """So many lines, and so many bytes with their ends."""

    lines: int
    size: int

    def plus(self, body: bytes) -> LineTotals:
        return LineTotals(self.lines + 1, self.size + len(body) + 1)


def tally(path: str) -> LineTotals:
    """Of the lines that wait, as `read_lines` would read them, at a fraction of the price."""
    bodies = [body for body in map(bytes.strip, _content(path).split(b"\n")) if body and not body.startswith(DONE)]
    return LineTotals(len(bodies), sum(map(len, bodies)) + len(bodies))


def count_all_lines(path: str) -> LineTotals:
    """Of all lines, those done with included: what every append can afford to ask."""
    content = _content(path)
    return LineTotals(content.count(b"\n") + 1, len(content))


def read_lines(path: str, start: int = 0) -> Iterator[Line]:
    """The waiting lines from the offset `start` on. A torn last line comes too: its reader will find out."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - a missing file has no lines, but other errors are errors
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        for raw in file:
            line = Line(start, start + len(raw), raw.strip())
            if line.body and not line.body.startswith(DONE):
                yield line
            start = line.end


def append_lines(path: str, bodies: Sequence[bytes]) -> None:
    """Add lines and see them on the disk. A last line torn by a kill is closed first, so that it harms no neighbour."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, _line_end_if_torn(descriptor, size) + b"".join(body + b"\n" for body in bodies))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)  # the disk is full: leave no half line
            raise
    finally:
        os.close(descriptor)
    if size == 0:
        sync_directory(path)


def mark_done(path: str, lines: Sequence[Line]) -> None:
    """Comment `lines` out, each by one byte, which a kill can't halve."""
    if not lines:
        return
    descriptor = os.open(path, os.O_RDWR | BINARY)
    try:
        for line in lines:
            os.lseek(descriptor, line.start, os.SEEK_SET)
            os.write(descriptor, DONE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rewrite(path: str, lines: Sequence[Line]) -> None:
    """Make these the only lines; without any, the file goes."""
    if lines:
        replace_file(path, b"".join(line.body + b"\n" for line in lines))
    elif os.path.exists(path):
        os.unlink(path)
        sync_directory(path)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _line_end_if_torn(descriptor: int, size: int) -> bytes:
    if size == 0:
        return b""
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return b"" if os.read(descriptor, 1) == b"\n" else b"\n"
