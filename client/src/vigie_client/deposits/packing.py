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

from vigie_client.contract import DumpSample, dump_doubts, is_error_message
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
_GZIP_WBITS = 31
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
class PackedFile:
    """The packed file: SHA-256 and size on disk, size of the unpacked dump, and suffix."""

    sha256: str
    size: int
    raw_size: int
    suffix: str


class Packer(Protocol):
    """Produces the deposited bytes. `sample` is of the unpacked dump, None if it cannot be unpacked here."""

    suffix: str

    @property
    def sample(self) -> Optional[DumpSample]: ...

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _GzipPacker:
    """Compresses with a gzip header without name and time: the same dump always gives the same bytes."""

    suffix = ".gz"

    def __init__(self) -> None:
        self.sample = DumpSample()
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WBITS)

    def feed(self, data: bytes) -> bytes:
        self.sample.add(data)
        return self._deflate.compress(data)

    def finish(self) -> bytes:
        return self._deflate.flush()


class _PassThrough:
    """Passes gzip or zstd on unchanged and unpacks it to check it, member by member, with padding between them."""

    def __init__(self, suffix: str, decompressor: Callable[[], Any], slice_: int, errors: type[Exception]) -> None:
        self.suffix = suffix
        self.sample = DumpSample()
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
                self.sample.add(self._member.decompress(data))
            except self._errors:
                raise DumpFailed(f"the {_NAMES[self.suffix]} data is corrupted") from None
            data = self._member.unused_data
            if self._member.eof:
                self._member = None


class _UncheckedPassThrough:
    """Passes zstd on unchecked if `zstandard` is not installed. The file's size stands for that of the dump."""

    suffix = ".zst"
    sample = None

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        log(logging.WARNING, "the zstd file can't be looked into: install vigie-client[zstd]")
        return b""


def pack(chunks: Iterator[bytes], write: Callable[[bytes], None], *, name: str = "") -> PackedFile:
    """Write a dump's `chunks` through `write`, in constant memory. `name` is that of the source file, if any.

    Raises DumpFailed if the dump is empty, incomplete, an error message, or not of the format that its name says.
    """
    head = b""
    while len(head) < _MAGIC_BYTES and (chunk := next(chunks, None)) is not None:  # a pipe may return single bytes
        head += chunk
    packer = _choose_packer(head, name)
    digest, size = hashlib.sha256(), 0
    for data in _feed_all(packer, itertools.chain([head], chunks)):
        digest.update(data)
        size += len(data)
        write(data)
    if packer.sample is not None:
        _check_usable(packer.sample)
    return PackedFile(digest.hexdigest(), size, packer.sample.size if packer.sample else size, packer.suffix)


def _check_usable(sample: DumpSample) -> None:
    """Raise DumpFailed for a dump that cannot be restored. An unknown format is only logged."""
    if is_error_message(sample.head):
        raise DumpFailed("the dump is an error message")
    for doubt in dump_doubts(sample.head, sample.tail):
        if doubt in _DOUBT_ERRORS:
            raise DumpFailed(_DOUBT_ERRORS[doubt])
        log(logging.WARNING, "the dump doesn't begin like one of a database; it's deposited as it is")


def _feed_all(packer: Packer, chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from map(packer.feed, chunks)
    yield packer.finish()


def _choose_packer(head: bytes, name: str) -> Packer:
    packer: Packer = _GzipPacker()
    if head.startswith(_GZIP):
        packer = _PassThrough(".gz", lambda: zlib.decompressobj(_GZIP_WBITS), _GZIP_SLICE, zlib.error)
    elif _ZSTD.match(head):
        packer = _zstd_packer()
    lower_name = name.lower()
    if (
        head
        and lower_name.endswith((".gz", ".zst"))
        and (isinstance(packer, _GzipPacker) or not lower_name.endswith(packer.suffix))
    ):
        raise DumpFailed("the file isn't what its name says")
    return packer


def _zstd_packer() -> Packer:
    if zstandard is None:
        return _UncheckedPassThrough()
    max_window = 2 ** (31 if sys.maxsize > 2**32 else 30)  # what `zstd --long` can make
    return _PassThrough(
        ".zst",
        lambda: zstandard.ZstdDecompressor(max_window_size=max_window).decompressobj(),
        _ZSTD_SLICE,
        zstandard.ZstdError,
    )
