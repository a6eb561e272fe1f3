"""A connection of which every step ends by one deadline, and http.client on top of it, made to notice what is amiss.

A socket's own timeout is per operation: a byte now and then keeps it from ever coming.
"""

from __future__ import annotations

import io
import socket
import ssl
import sys
import time
from _ssl import ENCODING_DER
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

from cryptography.x509 import load_der_x509_certificate

from monitoring.probe.spec import BODILESS

CHUNK = 64 * 1024
# Of an answer's head, and of a line anywhere.
HEAD_LENGTH = 64 * 1024
MOST_INTERIM = 10
LAST_END = datetime(9999, 1, 1, tzinfo=UTC)
START, VERSION = b"HTTP/", "HTTP/1."
INTERIM = frozenset({100, *range(102, 200)})
LONGEST_LENGTH = 18
HEXADECIMAL = b"0123456789abcdefABCDEF"
# Beginnings of media types: radio, cameras, server-sent events.
STREAMS = ("audio/", "video/", "application/ogg", "multipart/x-mixed-replace", "text/event-stream")


class BadChunk(HTTPException):
    """A chunk's size is not a number."""


class HeadTooLong(HTTPException):
    """The headers of an answer exceed HEAD_LENGTH."""


class TooManyInterim(HTTPException):
    """Answer upon answer that announces another."""


class BadLength(HTTPException):
    """A Content-Length that is not a number, or several that differ."""


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
        line = super().readline(HEAD_LENGTH)
        if line.endswith(b"\n"):
            return line
        raise LineTooLong("line") if len(line) == HEAD_LENGTH else IncompleteRead(line)


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
        return self._method != "HEAD" and self.status >= 200 and self.status not in BODILESS

    @property
    def is_stream(self) -> bool:
        """Whether the body has no end by its nature, so that nobody waits for it."""
        return self.length is None and self.headers.get("Content-Type", "").lower().startswith(STREAMS)

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
    """Read the headers, passing over what is none, as browsers do. Raises HTTPException."""
    headers, size = HTTPMessage(), 0
    while (line := lines.readline()).strip(b"\r\n"):
        size += len(line)
        if size > HEAD_LENGTH:
            raise HeadTooLong
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and name and not name[0].isspace():
            headers[name.strip()] = value.strip()
    return headers


def length_of(headers: HTTPMessage) -> int | None:
    """The announced length, which may be repeated (RFC 9110, 8.6); None where the body ends with the connection."""
    found = headers.get_all("Content-Length")
    if found is None:
        return None
    lengths = {text.strip() for text in ",".join(found).split(",")}
    text = lengths.pop()
    if lengths or not (text.isascii() and text.isdigit() and len(text) <= LONGEST_LENGTH):
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
    """The first end in the chain that the server sent, at most LAST_END: no other time zone could show the last year.

    A certificate that was sent but not used for the verification, such as an expired cross-signature, does not count.
    """
    used = chain(secure, "get_verified_chain")
    ends = []
    for certificate in chain(secure, "get_unverified_chain"):
        with suppress(ValueError):
            if certificate in used:
                ends.append(load_der_x509_certificate(certificate).not_valid_after_utc)
    return min([*ends, LAST_END]) if ends else None


def chain(secure: ssl.SSLSocket, method: str) -> list[bytes]:
    """The certificates as DER. Before Python 3.13 the methods exist on the inner object only."""
    if sys.version_info >= (3, 13):
        found: list[bytes] = getattr(secure, method)()
        return found
    inner = secure._sslobj  # type: ignore[attr-defined]
    return [certificate.public_bytes(ENCODING_DER) for certificate in getattr(inner, method)() or []]
