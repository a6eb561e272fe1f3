"""Lines of a spool file: one JSON payload each. A finished line is commented out by its first byte.

Nothing here locks: every caller holds the spool's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vigie_client.disk.durable import BINARY, replace_file, sync_directory, write_all

DONE = b"#"


class Line(NamedTuple):
    """A line that is not commented out: its content, and its offsets from `start` to `end`, the next line's start."""

    start: int
    end: int
    body: bytes


class LineTotals(NamedTuple):
    """A number of lines and their size in bytes, line ends included."""

    lines: int
    size: int

    def plus(self, body: bytes) -> LineTotals:
        return LineTotals(self.lines + 1, self.size + len(body) + 1)


def count_waiting(path: str) -> LineTotals:
    """Count the lines that `read_lines` would return, at a fraction of its cost."""
    bodies = [body for body in map(bytes.strip, _read_content(path).split(b"\n")) if body and not body.startswith(DONE)]
    return LineTotals(len(bodies), sum(map(len, bodies)) + len(bodies))


def count_all_lines(path: str) -> LineTotals:
    """Return an upper bound of the lines, including finished ones, cheaply enough for every append."""
    content = _read_content(path)
    return LineTotals(content.count(b"\n") + 1, len(content))


def read_lines(path: str, start: int = 0) -> Iterator[Line]:
    """Yield the waiting lines from the offset `start` on, including a torn last line."""
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
    """Append lines and sync them. A last line torn by a kill is terminated first, so that it damages no other."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, _line_end_if_torn(descriptor, size) + b"".join(body + b"\n" for body in bodies))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)  # leave no partial line on a full disk
            raise
    finally:
        os.close(descriptor)
    if size == 0:
        sync_directory(path)


def mark_done(path: str, lines: Sequence[Line]) -> None:
    """Comment out `lines` by one byte each, which a kill cannot split."""
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


def replace_lines(path: str, lines: Sequence[Line]) -> None:
    """Replace the content of the file by these lines. Without lines, delete it."""
    if lines:
        replace_file(path, b"".join(line.body + b"\n" for line in lines))
    elif os.path.exists(path):
        os.unlink(path)
        sync_directory(path)


def _read_content(path: str) -> bytes:
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
