"""The server's own measure of a staged dump: size and SHA-256, and on demand whether its gzip is whole.

One pass. Where a copy is made, what is hashed is what is written: nobody else ever opens the copy, while the staged
file may change under our hands.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

# Large enough that the loop costs nothing, small enough to stay in the processor's cache.
CHUNK = 256 * 1024
GZIP_MAGIC = b"\x1f\x8b"
# A dump compresses by ten, a table of zeros by hundreds, a bomb by a thousand.
MOST_INFLATION = 400
SMALLEST_LIMIT = 64 * 1024 * 1024
INFLATED_CHUNK = 1024 * 1024
# What comes after a member is copied for each of them: small slices keep that cheap for files of many members.
SLICE = 16 * 1024
BUDGET_SECONDS = 1_800.0


@dataclass(frozen=True)
class Measured:
    """`doubts` are codes of warnings that the content gave rise to. `state` is that of the file it was."""

    sha256: str
    size: int
    state: tuple[int, ...]
    is_stable: bool = True
    doubts: tuple[str, ...] = ()


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """Which file it is, and in which state."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class GzipCheck:
    """Unpacks a gzip of one or several members, keeping nothing of what comes out."""

    def __init__(self, size: int) -> None:
        self.left = max(SMALLEST_LIMIT, size * MOST_INFLATION)
        self.ends_at = time.monotonic() + BUDGET_SECONDS
        self.inflated = 0
        self.members = 0
        self.member = zlib.decompressobj(wbits=31)
        self.doubt = ""

    def feed(self, data: bytes | memoryview) -> None:
        if time.monotonic() > self.ends_at:
            self.doubt = self.doubt or "not_unpacked"
        for start in range(0, len(data), SLICE):
            if not self.doubt:
                self.feed_slice(data[start : start + SLICE])

    def feed_slice(self, data: bytes | memoryview) -> None:
        try:
            while data and not self.doubt:
                data = self.feed_member(data)
        except zlib.error:
            # Zeros after the last member are padding, as tapes and some copiers leave it.
            if not (self.members and self.is_between_members and not bytes(data).strip(b"\0")):
                self.doubt = "truncated_gzip"

    def feed_member(self, data: bytes | memoryview) -> bytes:
        out = self.member.decompress(data, INFLATED_CHUNK)
        self.is_between_members = False
        self.inflated += len(out)
        self.left -= len(out)
        if self.left < 0:
            self.doubt = "inflates_too_much"
        if not self.member.eof:
            return self.member.unconsumed_tail
        rest, self.member = self.member.unused_data, zlib.decompressobj(wbits=31)
        self.members += 1
        self.is_between_members = True
        return rest

    is_between_members = False

    def finished(self) -> tuple[str, ...]:
        if self.doubt:
            return (self.doubt,)
        if not self.is_between_members:
            return ("truncated_gzip",)
        return ("empty",) if not self.inflated else ()


def measure(
    source: int,
    *,
    copy: Callable[[memoryview], None] | None = None,
    gzip: GzipCheck | None = None,
    keep_alive: Callable[[], None] | None = None,
) -> Measured:
    """Reads the open file to its end, and hashes it; hands it to `copy`, and unpacks it, where they are given.

    `keep_alive` is called with each chunk, so that nobody takes a long measure for a dead one. Raises OSError.
    """
    before, digest, size = state_of(os.fstat(source)), hashlib.sha256(), 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while count := os.readv(source, [buffer]):
        chunk = view[:count]
        digest.update(chunk)
        size += count
        if copy is not None:
            copy(chunk)
        if gzip is not None:
            gzip.feed(chunk)
        if keep_alive is not None:
            keep_alive()
    is_stable = state_of(os.fstat(source)) == before and size == before[2]
    return Measured(digest.hexdigest(), size, before, is_stable, gzip.finished() if gzip else ())
