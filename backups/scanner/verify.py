"""The server's own measure of a staged dump: its size and SHA-256, and the doubts that its content gives rise to.

One pass. Where a copy is made, what is hashed is what is written: nobody else ever opens the copy, while the staged
file may change under our hands.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from backups.scanner.unpack import ContentCheck

# Large enough that the loop costs nothing, small enough to stay in the processor's cache.
CHUNK = 256 * 1024


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


def measure(
    source: int,
    *,
    copy: Callable[[memoryview], None] | None = None,
    check: ContentCheck | None = None,
    keep_alive: Callable[[], None] | None = None,
) -> Measured:
    """Reads the open file to its end, and hashes it; hands it to `copy` and to `check` where they are given.

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
        if check is not None:
            check.feed(chunk)
        if keep_alive is not None:
            keep_alive()
    is_stable = state_of(os.fstat(source)) == before and size == before[2]
    return Measured(digest.hexdigest(), size, before, is_stable, check.doubts() if check else ())
