"""Unpacks a staged dump as a stream, and finds what casts doubt on its content.

Memory is bounded by the slices that are fed to a decompressor, and time by a budget. The ratio of compression is no
sign: deflate makes a thousand bytes of one, and a table of blanks or zeros comes close to that.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zstandard
from vigie_client.contract import DumpEnds, dump_doubts

BUDGET_SECONDS = 1_800.0
# The longest magic number of a member.
MAGIC_BYTES = 4


@dataclass(frozen=True)
class Format:
    """A format of outer compression: one or more members in a row, each of which begins with `magic`.

    A slice of `slice` bytes is unpacked at once. Deflate makes 16 MiB of it at most, zstd 32 MiB; what comes after a
    member is copied, so small slices also keep files of many members cheap.
    """

    suffix: str
    magic: re.Pattern[bytes]
    decompressor: Callable[[], Any]
    slice: int
    truncated: str


GZIP = Format(".gz", re.compile(rb"\x1f\x8b"), lambda: zlib.decompressobj(wbits=31), 16 * 1024, "truncated_gzip")
ZSTD = Format(
    ".zst",
    re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL),  # a frame, or one to be skipped
    lambda: zstandard.ZstdDecompressor().decompressobj(),
    1024,
    "truncated_zstd",
)
FORMATS = (GZIP, ZSTD)


class ContentCheck:
    """Unpacks a file of this name whose first bytes are `magic`, whatever format they tell of.

    One that is not `deep` stops at the first byte of content: it only tells whether there is any.
    """

    def __init__(self, name: str, magic: bytes, *, deep: bool = True) -> None:
        self.name, self.deep = name, deep
        self.format: Format | None = next((one for one in FORMATS if one.magic.match(magic)), None)
        self.content = DumpEnds()
        self.member: Any = None
        # What may be the beginning of the next member, while there is too little of it to tell.
        self.waiting = b""
        # Nothing more is unpacked, and why; without a reason, enough is known.
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
                rest = self.begin(rest, format) if self.member is None else self.unpack(rest, format)

    def stop(self, doubt: str) -> bytes:
        self.is_over, self.doubt = True, doubt
        return b""

    def begin(self, data: bytes | memoryview, format: Format) -> bytes:
        """Looks for a member, behind zeros where some padding is; what is left to unpack."""
        found = (self.waiting + data).lstrip(b"\0")
        if len(found) < MAGIC_BYTES:
            self.waiting = found
            return b""
        self.waiting = b""
        if format.magic.match(found):
            self.member = format.decompressor()
            return found
        return self.stop("trailing_garbage")

    def unpack(self, data: bytes | memoryview, format: Format) -> bytes:
        """Feeds the member; what follows its end."""
        try:
            out = self.member.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            # "Frame requires too much memory for decoding": a window beyond the 128 MiB that `zstd -d` allows too.
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
        """Codes of warnings, asked for once all was fed."""
        if not self.deep:
            return () if self.content.size else ("empty",)
        if self.doubt == "not_unpacked":
            return (self.doubt,)
        if self.format is not None and self.is_truncated(self.format):
            return (*self.misnaming(), self.format.truncated)
        garbage = ("trailing_garbage",) if self.doubt or self.waiting else ()
        return (*self.misnaming(), *garbage, *dump_doubts(self.content.head, self.content.tail))

    def is_truncated(self, format: Format) -> bool:
        is_too_short = bool(self.waiting) and not self.content.size
        return self.doubt == format.truncated or self.member is not None or is_too_short

    def misnaming(self) -> tuple[str, ...]:
        """Whether the name says another format: `.dump` says that there is no outer compression."""
        suffix = self.format.suffix if self.format else ".dump"
        return () if self.name.endswith(suffix) or not self.content.size else ("misnamed",)
