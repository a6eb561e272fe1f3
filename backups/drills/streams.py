"""Read a stored dump as a stream of unpacked bytes."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from io import FileIO

from vigie_client.contract import BYTE_ORDER_MARK, DumpSample

from backups.drills.limits import Limits
from backups.scanner.unpack import MAGIC_BYTES, ContentCheck

READ_BYTES = 256 * 1024


class _Tap(DumpSample):
    """Keeps what is unpacked until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []

    def add(self, data: bytes | memoryview) -> None:
        super().add(data)
        self.parts.append(bytes(data))

    def take(self) -> list[bytes]:
        parts, self.parts = self.parts, []
        return parts


class DumpStream:
    """An open dump in any outer compression. `read` is how many of its bytes have been read, as stored."""

    def __init__(self, file: FileIO, name: str, limits: Limits) -> None:
        self.file, self.limits = file, limits
        self.check = ContentCheck(name, os.pread(file.fileno(), MAGIC_BYTES, 0))
        self.check.ends_at = math.inf  # a drill has a deadline of its own
        self.check.content = self.tap = _Tap()
        self.read = 0
        self.stored = hashlib.sha256()
        self._first: list[bytes] = []
        self._pieces = self._read_all()

    def peek(self, size: int) -> bytes:
        """Return up to `size` first bytes, which the iteration yields again. Leaves out a byte order mark.

        Raises Aborted.
        """
        while sum(map(len, self._first)) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._first.append(piece if self._first else piece.removeprefix(BYTE_ORDER_MARK))
        return b"".join(self._first)[:size]

    def __iter__(self) -> Iterator[bytes]:
        """Yield the unpacked bytes piece by piece, each once. Damage ends the stream; `doubts` then names it.

        Raises Aborted.
        """
        while self._first:
            yield self._first.pop(0)
        for piece in self._pieces:  # noqa: UP028 - `yield from` would close it with an iteration that is given up
            yield piece

    def _read_all(self) -> Iterator[bytes]:
        while data := self.file.read(READ_BYTES):
            self.read += len(data)
            self.stored.update(data)
            if self.check.is_over:  # damaged: the rest is only hashed
                self.limits.raise_if_reached()
                continue
            for start in range(0, len(data), self._step):
                self.check.feed(data[start : start + self._step])
                self.limits.unpacked = self.check.content.size
                self.limits.raise_if_reached()
                yield from self.tap.take()

    @property
    def _step(self) -> int:
        """A slice that a bomb cannot unpack into more than 32 MiB."""
        return self.check.format.slice if self.check.format else READ_BYTES

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file as stored, once all of it has been read."""
        return self.stored.hexdigest()

    def doubts(self) -> tuple[str, ...]:
        """Return the codes of doubts about the content, once all of it has been read."""
        return self.check.doubts()
