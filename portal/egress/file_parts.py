"""The parts in which a file is uploaded, measured before any of it is sent."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

MIB = 1024 * 1024
PART_SIZE, MOST_PARTS = 16 * MIB, 10_000
CHUNK = 256 * 1024


class SourceChanged(Exception):
    """The file is no longer what was measured."""


@dataclass(frozen=True)
class FileParts:
    """Size and SHA-256 of a file and of its parts, of which there is at least one."""

    size: int
    sha256: str
    part_size: int
    digests: tuple[bytes, ...]

    @property
    def checksum(self) -> str:
        """The SHA-256 as stores show it: of the only part, or of the digests of all parts and their number."""
        if len(self.digests) == 1:
            return base64.b64encode(self.digests[0]).decode()
        combined = hashlib.sha256(b"".join(self.digests)).digest()
        return f"{base64.b64encode(combined).decode()}-{len(self.digests)}"

    def length(self, index: int) -> int:
        """Return the size of a part in bytes."""
        return min(self.part_size, self.size - index * self.part_size)


def choose_part_size(size: int) -> int:
    """Return the smallest size of whole MiB, at least PART_SIZE, that makes no more than MOST_PARTS."""
    return max(PART_SIZE, -(-size // (MOST_PARTS * MIB)) * MIB)


def measure_parts(source: int, keep_alive: Callable[[], None]) -> FileParts:
    """Hash an open file and its parts. Raises OSError, and SourceChanged for one that grows or shrinks meanwhile."""
    size = os.fstat(source).st_size
    part_size, whole, offset = choose_part_size(size), hashlib.sha256(), 0
    digests: list[bytes] = []
    while offset < size or not digests:
        part, end = hashlib.sha256(), min(offset + part_size, size)
        while offset < end:
            keep_alive()
            chunk = os.pread(source, min(CHUNK, end - offset), offset)
            if not chunk:
                raise SourceChanged
            whole.update(chunk)
            part.update(chunk)
            offset += len(chunk)
        digests.append(part.digest())
    if os.fstat(source).st_size != size:
        raise SourceChanged
    return FileParts(size, whole.hexdigest(), part_size, tuple(digests))


def rebuild_parts(size: int, sha256: str, digests: bytes) -> FileParts | None:
    """Return parts that were measured before, by their joined digests, or None if these are not of such parts."""
    found = tuple(digests[begin : begin + 32] for begin in range(0, len(digests), 32))
    part_size = choose_part_size(size)
    is_complete = len(digests) == 32 * max(1, -(-size // part_size))
    return FileParts(size, sha256, part_size, found) if is_complete else None


def read_part(source: int, parts: FileParts, index: int) -> bytes:
    """Return the bytes of a part. Raises OSError, and SourceChanged for others than were measured."""
    offset, left, chunks = index * parts.part_size, parts.length(index), []
    while left and (chunk := os.pread(source, left, offset)):
        chunks.append(chunk)
        offset, left = offset + len(chunk), left - len(chunk)
    body = b"".join(chunks)
    if hashlib.sha256(body).digest() != parts.digests[index]:
        raise SourceChanged
    return body
