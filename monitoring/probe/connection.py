"""A connection of which every step ends by one deadline, and http.client on top of it, made to notice what is amiss.

A socket's own timeout is per operation: a byte now and then keeps it from ever coming.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    IncompleteRead,
    LineTooLong,
    UnknownProtocol,
)
from typing import Any, cast

CHUNK = 64 * 1024
LONGEST_LINE = 16 * 1024
MOST_INTERIM = 10
LAST_END = datetime(9999, 1, 1, tzinfo=UTC)
START, VERSION = b"HTTP/", "HTTP/1."
INTERIM = frozenset({100, *range(102, 200)})
MOST_HEADERS = 200
LONGEST_LENGTH = 18
HEXADECIMAL = b"0123456789abcdefABCDEF"


class BadChunk(HTTPException):
    """A chunk's size is not a number."""


class TooManyHeaders(HTTPException):
    """More than any server sends."""


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
    """A line that is cut off is none."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(LONGEST_LINE)
        if line.endswith(b"\n"):
            return line
        raise LineTooLong("line") if len(line) == LONGEST_LINE else IncompleteRead(line)


class Answer(HTTPResponse):
    """Reads the head itself: the library's way, of e-mail, is slow, for seconds where a Content-Type is made for that;
    takes an early end for the end of the headers; and an interim answer (103 Early Hints) for the answer.
    """

    _method: str | None
    _read_status: Callable[[], tuple[str, int, str]]

    def begin(self) -> None:
        start = self.fp.peek(len(START))[: len(START)]
        if not START.startswith(start):
            raise BadStatusLine("no HTTP")
        for _ in range(MOST_INTERIM):
            version, self.status, self.reason = self._read_status()
            if not version.startswith(VERSION):
                raise UnknownProtocol(version)
            self.headers = self.msg = headers_of(self.fp)
            if self.status not in INTERIM:
                break
        else:
            raise TooManyInterim
        self.code, self.version, self.will_close = self.status, 11, True
        coding = self.headers.get("Transfer-Encoding", "").lower().rpartition(",")[2].strip()
        self.chunked, self.chunk_left = coding == "chunked", None
        self.length = None if self.chunked else length_of(self.headers)

    def _read_next_chunk_size(self) -> int:
        """The library takes what is no number for an early end, and "-5" and "0x5" for numbers."""
        size = self.fp.readline().partition(b";")[0].strip()
        if not size or len(size) > 16 or size.strip(HEXADECIMAL):
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


def headers_of(lines: io.BufferedReader) -> HTTPMessage:
    """What is no header is passed over, as browsers do. Raises HTTPException where there are too many."""
    headers = HTTPMessage()
    for _ in range(MOST_HEADERS):
        line = lines.readline()
        if not line.strip(b"\r\n"):
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and name and not name[0].isspace():
            headers[name.strip()] = value.strip()
    raise TooManyHeaders


def length_of(headers: HTTPMessage) -> int | None:
    """None where the body ends with the connection."""
    text = headers.get("Content-Length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_LENGTH):
        raise BadLength
    return int(text)


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
    found = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        found.settimeout(left(deadline))
        found.do_handshake()
    except BaseException:
        found.close()
        raise
    return found


def certificate_end(secure: ssl.SSLSocket) -> datetime | None:
    """At most LAST_END: certificates may say that they never end, which no other time zone can show."""
    with suppress(ValueError, OverflowError):
        certificate = secure.getpeercert() or {}
        return min(datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC), LAST_END)
    return None
