"""Connections with one deadline for all steps, and http.client on top of them, with stricter parsing.

The timeout of a socket is per operation: a sender that drips bytes would keep it from ever expiring.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Mapping, Sequence
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
from urllib.parse import SplitResult

from portal.egress.urls import PORTS, ascii_host, request_target, url_port

CHUNK = 64 * 1024
BODILESS = frozenset({204, 304})
# Limit for the head of an answer, and for any line.
HEAD_LENGTH = 64 * 1024
MOST_INTERIM = 10
START, VERSION = b"HTTP/", "HTTP/1."
INTERIM = frozenset({100, *range(102, 200)})
MAX_LENGTH_DIGITS = 18
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


def time_left(deadline: float) -> float:
    """Return the seconds until the deadline. Raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class Wire:
    """The part of a socket that http.client uses. Whoever opened the socket closes it."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.socket = connection
        self.deadline = deadline

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:  # `sendall` of TLS begins a new timeout with each record
            self.socket.settimeout(time_left(self.deadline))
            left = left[self.socket.send(left) :]

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
        self.wire.socket.settimeout(time_left(self.wire.deadline))
        return self.wire.socket.recv_into(buffer)


class Lines(io.BufferedReader):
    """A reader that refuses lines that are cut off."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(HEAD_LENGTH)
        if line.endswith(b"\n"):
            return line
        raise LineTooLong("line") if len(line) == HEAD_LENGTH else IncompleteRead(line)


class Answer(HTTPResponse):
    """An answer that parses its own head.

    The library uses its e-mail parser, which can take seconds for a crafted Content-Type. It also takes an early end
    for the end of the headers, and an interim answer (103 Early Hints) for the answer.
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
            self.headers = self.msg = read_headers(self.fp)
            if self.status not in INTERIM:
                break
        else:
            raise TooManyInterim
        self.code, self.version, self.will_close = self.status, 11, True
        coding = self.headers.get("Transfer-Encoding", "").lower().rpartition(",")[2].strip()
        self.chunked, self.chunk_left = coding == "chunked", None
        self.length = None if self.chunked else content_length(self.headers)

    def _read_next_chunk_size(self) -> int:
        """Parse strictly: the library takes "-5" and "0x5" for numbers, and anything else for an early end."""
        size = self.fp.readline().partition(b";")[0].strip()
        if not size or len(size) > 16 or size.strip(HEXADECIMAL):
            raise BadChunk
        return int(size, 16)

    @property
    def has_body(self) -> bool:
        return self._method != "HEAD" and self.status >= 200 and self.status not in BODILESS

    @property
    def is_stream(self) -> bool:
        """True for media types whose body never ends."""
        return self.length is None and self.headers.get("Content-Type", "").lower().startswith(STREAMS)

    def content(self, limit: int) -> bytes:
        """Return at most `limit` bytes of the body. Raises IncompleteRead if it is shorter than announced."""
        body = bytearray()
        while self.has_body and len(body) < limit:
            chunk = self.read1(min(CHUNK, limit - len(body)))
            if not chunk:
                if self.length:
                    raise IncompleteRead(b"")
                break
            body += chunk
        return bytes(body)


def read_headers(lines: io.BufferedReader) -> HTTPMessage:
    """Read the headers and skip invalid lines, as browsers do. Raises HTTPException."""
    headers, size = HTTPMessage(), 0
    while (line := lines.readline()).strip(b"\r\n"):
        size += len(line)
        if size > HEAD_LENGTH:
            raise HeadTooLong
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and name and not name[0].isspace():
            headers[name.strip()] = value.strip()
    return headers


def content_length(headers: HTTPMessage) -> int | None:
    """Return the Content-Length, which may be repeated (RFC 9110, 8.6), or None if the connection ends the body."""
    values = headers.get_all("Content-Length")
    if values is None:
        return None
    lengths = {text.strip() for text in ",".join(values).split(",")}
    text = lengths.pop()
    if lengths or not (text.isascii() and text.isdigit() and len(text) <= MAX_LENGTH_DIGITS):
        raise BadLength
    return int(text)


class Connection(HTTPConnection):
    """An HTTP connection on a wire that is open already."""

    response_class = Answer
    auto_open = 0

    def __init__(self, host: str, port: int, default_port: int, wire: Wire) -> None:
        super().__init__(host, port)
        self.default_port = default_port
        self.sock = cast(socket.socket, wire)


def connect(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    """Connect to the first address that accepts; each gets an equal share of the time left. Raises OSError."""
    for count, address in enumerate(addresses, 1):
        share = time_left(deadline) / (len(addresses) - count + 1)
        try:
            return connect_to(address, port, share)
        except OSError:
            if count == len(addresses):
                raise
    raise ConnectionError


def connect_to(address: str, port: int, seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return connection


def send_request(
    wire: Wire, method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes | None = None
) -> Answer:
    """Return the answer once its head is there. Raises OSError or HTTPException."""
    asking = Connection(ascii_host(parts), url_port(parts), PORTS[parts.scheme], wire)
    asking.request(method, request_target(parts), body, headers)
    return cast(Answer, asking.getresponse())
