"""Unpack a staged dump as a stream, and find what casts doubt on its content.

Memory is bounded by the slices that are fed to a decompressor, and time by a budget. A high compression ratio is no
sign of a bomb: a table of blanks or zeros comes close to deflate's maximum of a thousand to one.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zstandard
from vigie_client.contract import DumpSample, dump_doubts

BUDGET_SECONDS = 1_800.0
# The longest magic number of a member.
MAGIC_BYTES = 4


@dataclass(frozen=True)
class CompressionFormat:
    """An outer compression format: one or more members in a row, each beginning with `magic`.

    Slices of `slice` bytes are unpacked at once, into at most 16 MiB (deflate) or 32 MiB (zstd). The rest of a slice is
    copied at the end of a member, so small slices also keep files with many members cheap.
    """

    suffix: str
    magic: re.Pattern[bytes]
    decompressor: Callable[[], Any]
    slice: int
    truncated: str


GZIP = CompressionFormat(
    ".gz", re.compile(rb"\x1f\x8b"), lambda: zlib.decompressobj(wbits=31), 16 * 1024, "truncated_gzip"
)
ZSTD = CompressionFormat(
    ".zst",
    re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL),  # a frame, or one to be skipped
    lambda: zstandard.ZstdDecompressor().decompressobj(),
    1024,
    "truncated_zstd",
)
FORMATS = (GZIP, ZSTD)


class ContentCheck:
    """Unpack a file in the format of its first bytes, `magic`, and collect doubts about its content.

    Without `deep`, stop at the first byte of content: the only doubt is then whether there is any.
    """

    def __init__(self, name: str, magic: bytes, *, deep: bool = True) -> None:
        self.name, self.deep = name, deep
        self.format: CompressionFormat | None = next((known for known in FORMATS if known.magic.match(magic)), None)
        self.content = DumpSample()
        self.member: Any = None
        # Too few bytes to recognize the next member.
        self.waiting = b""
        # Set once nothing more is unpacked; an empty doubt means that enough is known.
        self.is_over, self.doubt = False, ""
        self.ends_at = time.monotonic() + BUDGET_SECONDS

    def feed(self, data: bytes | memoryview) -> None:
        if not self.is_over and time.monotonic() > self.ends_at:
            self.stop("not_unpacked")
        if self.is_over:
            return
        format = self.format
        if format is None:
            self.content.add(data)
            return
        for start in range(0, len(data), format.slice):
            rest = data[start : start + format.slice]
            while rest and not self.is_over:
                rest = self.find_member(rest, format) if self.member is None else self.unpack(rest, format)

    def stop(self, doubt: str) -> bytes:
        self.is_over, self.doubt = True, doubt
        return b""

    def find_member(self, data: bytes | memoryview, format: CompressionFormat) -> bytes:
        """Start a member, skipping zero padding, and return what is left to unpack."""
        found = (self.waiting + data).lstrip(b"\0")
        if len(found) < MAGIC_BYTES:
            self.waiting = found
            return b""
        self.waiting = b""
        if format.magic.match(found):
            self.member = format.decompressor()
            return found
        return self.stop("trailing_garbage")

    def unpack(self, data: bytes | memoryview, format: CompressionFormat) -> bytes:
        """Feed the member, and return what follows its end."""
        try:
            out = self.member.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            # "Frame requires too much memory for decoding": a window beyond the 128 MiB that `zstd -d` allows.
            return self.stop("not_unpacked" if "too much memory" in str(error) else format.truncated)
        if out:
            self.content.add(out)
            self.is_over = not self.deep
        if not self.member.eof:
            return b""
        rest: bytes = self.member.unused_data
        self.member = None
        return rest

    def doubts(self) -> tuple[str, ...]:
        """Return codes of warnings, once everything has been fed."""
        if not self.deep:
            return () if self.content.size else ("empty",)
        if self.doubt == "not_unpacked":
            return (self.doubt,)
        if self.format is not None and self.is_truncated(self.format):
            return (*self.find_misnaming(), self.format.truncated)
        garbage = ("trailing_garbage",) if self.doubt or self.waiting else ()
        return (*self.find_misnaming(), *garbage, *dump_doubts(self.content.head, self.content.tail))

    def is_truncated(self, format: CompressionFormat) -> bool:
        is_too_short = bool(self.waiting) and not self.content.size
        return self.doubt == format.truncated or self.member is not None or is_too_short

    def find_misnaming(self) -> tuple[str, ...]:
        """Return a warning if the name contradicts the format; `.dump` means no outer compression."""
        suffix = self.format.suffix if self.format else ".dump"
        return () if self.name.endswith(suffix) or not self.content.size else ("misnamed",)
