"""From a dump to the file that is deposited: compressed unless it is already, hashed and measured on the way."""

from __future__ import annotations

import hashlib
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Callable, Optional, Protocol

from .dump_errors import DumpFailed

_GZIP = b"\x1f\x8b"
# A frame, or a skippable one, with which parallel compressors begin.
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
_MAGIC_BYTES = 4
_GZIP_FORMAT = 31
_SLICE = 16 * 1024
"""Deflate makes at most 1,032 bytes of one: a slice of the input bounds the output."""


@dataclass(frozen=True)
class Packed:
    """What was written: its SHA-256 and size as they stand on the disk, the size of the dump within, and the suffix."""

    sha256: str
    size: int
    raw_size: int
    suffix: str


class Packing(Protocol):
    """One way to make the deposited bytes. `raw_size` is the size of the dump so far."""

    suffix: str
    raw_size: int

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _Compressing:
    """A gzip header without name or time: the same dump always gives the same bytes."""

    suffix = ".gz"

    def __init__(self) -> None:
        self.raw_size = 0
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, _GZIP_FORMAT)

    def feed(self, data: bytes) -> bytes:
        self.raw_size += len(data)
        return self._deflate.compress(data)

    def finish(self) -> bytes:
        return self._deflate.flush()


class _Gzip:
    """gzip passed on as it is, and read along: a truncated or empty one looks like any other from outside."""

    suffix = ".gz"

    def __init__(self) -> None:
        self.raw_size = 0
        self._member: Optional[zlib._Decompress] = None

    def feed(self, data: bytes) -> bytes:
        for start in range(0, len(data), _SLICE):
            self._read(data[start : start + _SLICE])
        return data

    def finish(self) -> bytes:
        if self._member is not None:
            raise DumpFailed("the gzip data is truncated")
        return b""

    def _read(self, data: bytes) -> None:
        while data:
            if self._member is None:
                data = data.lstrip(b"\0")  # padding between members
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_FORMAT)
            try:
                self.raw_size += len(self._member.decompress(data))
            except zlib.error:
                raise DumpFailed("the gzip data is damaged") from None
            data = self._member.unused_data
            if self._member.eof:
                self._member = None


class _Zstandard:
    """zstd passed on as it is. Nothing here can look inside: the dump's size is taken to be that of the file."""

    suffix = ".zst"

    def __init__(self) -> None:
        self.raw_size = 0

    def feed(self, data: bytes) -> bytes:
        self.raw_size += len(data)
        return data

    def finish(self) -> bytes:
        return b""


def pack(chunks: Iterator[bytes], write: Callable[[bytes], None], *, name: str = "") -> Packed:
    """Write a dump's `chunks` through `write`. `name` is that of the file they come from, if any.

    Constant memory whatever the size. DumpFailed if there's nothing in it, if it's gzip and not whole, or if it isn't
    what its name says; and whatever `chunks` and `write` raise.
    """
    head, rest = _split_head(chunks)
    packing = _packing_for(head, name)
    digest, size = hashlib.sha256(), 0
    for data in _fed(packing, itertools.chain([head], rest)):
        digest.update(data)
        size += len(data)
        write(data)
    if packing.raw_size == 0:
        raise DumpFailed("the dump is empty")
    return Packed(digest.hexdigest(), size, packing.raw_size, packing.suffix)


def _fed(packing: Packing, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if data := packing.feed(chunk):
            yield data
    if data := packing.finish():
        yield data


def _split_head(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Enough of the first bytes to know the format by: a pipe may give them one by one."""
    head = b""
    while len(head) < _MAGIC_BYTES:
        chunk = next(chunks, None)
        if chunk is None:
            break
        head += chunk
    return head, chunks


def _packing_for(head: bytes, name: str) -> Packing:
    packing: Packing = _Compressing()
    if head.startswith(_GZIP):
        packing = _Gzip()
    elif _ZSTD.match(head):
        packing = _Zstandard()
    named = name.lower()
    if (
        head
        and named.endswith((".gz", ".zst"))
        and (isinstance(packing, _Compressing) or not named.endswith(packing.suffix))
    ):
        raise DumpFailed("the file isn't what its name says")
    return packing
