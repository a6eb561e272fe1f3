"""A connection of which every step ends by one deadline, and http.client on top of it, made to notice early ends.

A socket's own timeout is per operation: a byte now and then keeps it from ever coming.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, LineTooLong
from typing import Any, cast

CHUNK = 64 * 1024
# The standard library takes 64 KiB, of which a purpose-made Content-Type keeps it busy for seconds.
LONGEST_LINE = 16 * 1024
MOST_INTERIM = 10
START = b"HTTP/"
INTERIM = range(102, 200)


class BadChunk(HTTPException):
    """A chunk's size is not a number."""


class TooManyInterim(HTTPException):
    """Answer upon answer that announces another."""


class BadLength(HTTPException):
    """A Content-Length that is not a number."""


def left(deadline: float) -> float:
    """Seconds. Raises TimeoutError where there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class Wire:
    """What http.client wants of a socket. Closing is up to whoever opened it."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self.socket = connected
        self.deadline = deadline

    def sendall(self, data: bytes) -> None:
        self.socket.settimeout(left(self.deadline))
        self.socket.sendall(data)

    def makefile(self, mode: str) -> Lines:
        return Lines(Source(self))

    def close(self) -> None:
        pass


class Source(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.wire.socket.settimeout(left(self.wire.deadline))
        return self.wire.socket.recv_into(buffer)


class Lines(io.BufferedReader):
    """http.client would take an end amid the headers for the end of the headers."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(LONGEST_LINE)
        if line.endswith(b"\n"):
            return line
        raise LineTooLong("line") if len(line) == LONGEST_LINE else IncompleteRead(line)


class Answer(HTTPResponse):
    """Tells a broken size of a chunk from an end, and passes over interim answers (103 Early Hints)."""

    _method: str | None

    def begin(self) -> None:
        start = self.fp.peek(len(START))[: len(START)]
        if not START.startswith(start):
            raise BadStatusLine("no HTTP")
        for _ in range(MOST_INTERIM):
            super().begin()
            if self.status not in INTERIM:
                break
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first answer
        else:
            raise TooManyInterim
        length = self.headers.get("Content-Length", "0").strip()
        if not (length.isascii() and length.isdigit()):
            raise BadLength

    def _read_next_chunk_size(self) -> int:
        line = self.fp.readline()
        size = line.partition(b";")[0].strip()
        if not size or len(size) > 16 or size.strip(b"0123456789abcdefABCDEF"):
            raise BadChunk
        return int(size, 16)

    @property
    def has_body(self) -> bool:
        return self._method != "HEAD" and self.status >= 200 and self.status not in (204, 304)

    def content(self, limit: int) -> bytes:
        """At most `limit` bytes of the body. Raises IncompleteRead where it ends before its announced end."""
        body = bytearray()
        while self.has_body and len(body) < limit:
            chunk = self.read1(min(CHUNK, limit - len(body)))
            if not chunk:
                if self.length:
                    raise IncompleteRead(b"")
                break
            body += chunk
        return bytes(body)


class Connection(HTTPConnection):
    """On a wire that is there already."""

    response_class = Answer
    auto_open = 0

    def __init__(self, host: str, port: int, default_port: int, wire: Wire) -> None:
        super().__init__(host, port)
        self.default_port = default_port
        self.sock = cast(socket.socket, wire)


def connected(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    """To the first of the addresses that takes it; each gets its share of what is left. Raises OSError."""
    for count, address in enumerate(addresses, 1):
        share = left(deadline) / (len(addresses) - count + 1)
        try:
            return connected_to(address, port, share)
        except OSError:
            if count == len(addresses):
                raise
    raise ConnectionError


def connected_to(address: str, port: int, seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.settimeout(seconds)
        found.connect((address, port))
    except BaseException:
        found.close()
        raise
    return found


def secured(plain: socket.socket, context: ssl.SSLContext, host: str, deadline: float) -> ssl.SSLSocket:
    """Takes the plain socket over, also where it raises OSError (of which ssl.SSLError is one)."""
    plain.settimeout(left(deadline))
    found = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        found.settimeout(left(deadline))
        found.do_handshake()
    except BaseException:
        found.close()
        raise
    return found


def certificate_end(secure: ssl.SSLSocket) -> datetime | None:
    with suppress(ValueError, OverflowError):
        certificate = secure.getpeercert() or {}
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return None
