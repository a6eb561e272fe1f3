"""Measure a dump: its size and SHA-256, and what casts doubt on its content.

A single pass hashes what it writes to the copy. Nobody else opens the copy, whereas the staged file may change while it
is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from backups.scanner.disk.opening import file_state
from backups.scanner.unpack import ContentCheck

# Large enough that the loop costs nothing, small enough to stay in the processor's cache.
CHUNK = 256 * 1024


@dataclass(frozen=True)
class MeasuredFile:
    """The result of one pass over a file. `doubts` are codes of warnings, `state` is the file's at its opening."""

    sha256: str
    size: int
    state: tuple[int, ...]
    is_stable: bool = True
    doubts: tuple[str, ...] = ()


def measure_file(
    source: int,
    *,
    copy: Callable[[memoryview], None] | None = None,
    check: ContentCheck | None = None,
    keep_alive: Callable[[], None] | None = None,
) -> MeasuredFile:
    """Read an open file to its end, hash it, and pass each chunk to `copy` and `check`.

    `keep_alive` is called after each chunk, so that a long measure keeps its lease. Raises OSError.
    """
    before, digest, size = file_state(os.fstat(source)), hashlib.sha256(), 0
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
    is_stable = file_state(os.fstat(source)) == before and size == before[2]
    return MeasuredFile(digest.hexdigest(), size, before, is_stable, check.doubts() if check else ())
