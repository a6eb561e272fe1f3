"""Pack a dump into the file to deposit: compress it unless it is compressed already, hash and measure it.

Compressed dumps are unpacked on the way to detect useless ones.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol

from vigie_client.contract import DumpEnds, dump_doubts, is_error_message
from vigie_client.deposits.errors import DumpFailed
from vigie_client.disk.logs import log

zstandard: Any
try:
    import zstandard
except ImportError:  # the extra `zstd`
    zstandard = None

_GZIP = b"\x1f\x8b"
# A frame, or a skippable frame, with which parallel compressors begin.
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
_MAGIC_BYTES = 4
_GZIP_FORMAT = 31
_GZIP_SLICE = 16 * 1024
"""Input per step. Deflate expands at most 1,032 times, so this limits the output."""
_ZSTD_SLICE = 1024
"""Input per step, which zstd expands to at most 32 MiB."""
_NAMES = {".gz": "gzip", ".zst": "zstd"}
_DOUBT_ERRORS = {
    "empty": "the dump is empty",
    "incomplete": "the dump is incomplete: the last lines of the dump program are missing",
}


@dataclass(frozen=True)
class Packed:
    """The packed file: SHA-256 and size on disk, size of the unpacked dump, and suffix."""

    sha256: str
    size: int
    raw_size: int
    suffix: str


class Packing(Protocol):
    """A way to produce the deposited bytes. `ends` belong to the unpacked dump, None if it cannot be unpacked here."""

    suffix: str

    @property
    def ends(self) -> Optional[DumpEnds]: ...

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _Compressing:
    """Compresses with a gzip header without name and time: the same dump always gives the same bytes."""

    suffix = ".gz"

    def __init__(self) -> None:
        self.ends = DumpEnds()
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, _GZIP_FORMAT)

    def feed(self, data: bytes) -> bytes:
        self.ends.add(data)
        return self._deflate.compress(data)

    def finish(self) -> bytes:
        return self._deflate.flush()


class _Compressed:
    """Passes gzip or zstd on unchanged and unpacks it to check it, member by member, with padding between them."""

    def __init__(self, suffix: str, decompressor: Callable[[], Any], slice_: int, errors: type[Exception]) -> None:
        self.suffix = suffix
        self.ends = DumpEnds()
        self._decompressor = decompressor
        self._slice = slice_
        self._errors = errors
        self._member: Any = None

    def feed(self, data: bytes) -> bytes:
        for start in range(0, len(data), self._slice):
            self._read(data[start : start + self._slice])
        return data

    def finish(self) -> bytes:
        if self._member is not None:
            raise DumpFailed(f"the {_NAMES[self.suffix]} data is truncated")
        return b""

    def _read(self, data: bytes) -> None:
        while data:
            if self._member is None:
                data = data.lstrip(b"\0")  # padding between members
                if not data:
                    return
                self._member = self._decompressor()
            try:
                self.ends.add(self._member.decompress(data))
            except self._errors:
                raise DumpFailed(f"the {_NAMES[self.suffix]} data is damaged") from None
            data = self._member.unused_data
            if self._member.eof:
                self._member = None


class _Opaque:
    """Passes zstd on unchecked if `zstandard` is not installed. The file's size stands for that of the dump."""

    suffix = ".zst"
    ends = None

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        log(logging.WARNING, "the zstd file can't be looked into: install vigie-client[zstd]")
        return b""


def pack(chunks: Iterator[bytes], write: Callable[[bytes], None], *, name: str = "") -> Packed:
    """Write a dump's `chunks` through `write`, in constant memory. `name` is that of the source file, if any.

    Raises DumpFailed if the dump is empty, incomplete, an error message, or not of the format that its name says.
    """
    head, rest = _split_head(chunks)
    packing = _choose_packing(head, name)
    digest, size = hashlib.sha256(), 0
    for data in _feed_all(packing, itertools.chain([head], rest)):
        digest.update(data)
        size += len(data)
        write(data)
    if packing.ends is not None:
        _check_usable(packing.ends)
    return Packed(digest.hexdigest(), size, packing.ends.size if packing.ends else size, packing.suffix)


def _check_usable(ends: DumpEnds) -> None:
    """Raise DumpFailed for a dump that cannot be restored. An unknown format is only logged."""
    if is_error_message(ends.head):
        raise DumpFailed("the dump is an error message")
    for doubt in dump_doubts(ends.head, ends.tail):
        if doubt in _DOUBT_ERRORS:
            raise DumpFailed(_DOUBT_ERRORS[doubt])
        log(logging.WARNING, "the dump doesn't begin like one of a database; it's deposited as it is")


def _feed_all(packing: Packing, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if data := packing.feed(chunk):
            yield data
    if data := packing.finish():
        yield data


def _split_head(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Read enough bytes to recognize the format. A pipe may return them one by one."""
    head = b""
    while len(head) < _MAGIC_BYTES:
        chunk = next(chunks, None)
        if chunk is None:
            break
        head += chunk
    return head, chunks


def _choose_packing(head: bytes, name: str) -> Packing:
    packing: Packing = _Compressing()
    if head.startswith(_GZIP):
        packing = _Compressed(".gz", lambda: zlib.decompressobj(_GZIP_FORMAT), _GZIP_SLICE, zlib.error)
    elif _ZSTD.match(head):
        packing = _zstd_packing()
    lower_name = name.lower()
    if (
        head
        and lower_name.endswith((".gz", ".zst"))
        and (isinstance(packing, _Compressing) or not lower_name.endswith(packing.suffix))
    ):
        raise DumpFailed("the file isn't what its name says")
    return packing


def _zstd_packing() -> Packing:
    if zstandard is None:
        return _Opaque()
    max_window = 2 ** (31 if sys.maxsize > 2**32 else 30)  # what `zstd --long` can make
    return _Compressed(
        ".zst",
        lambda: zstandard.ZstdDecompressor(max_window_size=max_window).decompressobj(),
        _ZSTD_SLICE,
        zstandard.ZstdError,
    )
