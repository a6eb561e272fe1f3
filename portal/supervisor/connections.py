"""Connections of the web server: a sender that stops half-way gives its thread back."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

HEAD_SECONDS = 10.0
BODY_SECONDS, BYTES_PER_SECOND = 30.0, 8 * 1024
# What a call may send (`portal.api.bodies`, which cannot be imported before Django is set up).
LONGEST_CHUNKED = 1024 * 1024


class DeadlineSocket(socket.socket):
    """A connection whose sender is waited for until a deadline in all, and then hung up on.

    No answer is sent: it could only say that the body was incomplete, which is no fault of what it holds.
    """

    deadline: float | None = None

    def expect_within(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds

    def settimeout(self, value: float | None) -> None:
        """A limit for each pause takes the place of the deadline: a deposit may take as long as bytes keep coming."""
        self.deadline = None
        super().settimeout(value)

    def recv(self, *args: Any) -> bytes:
        if self.deadline is None:
            return super().recv(*args)
        before = self.gettimeout()
        # What has arrived already is taken even after the deadline: then it was us who were slow.
        super().settimeout(max(0.0, self.deadline - time.monotonic()))
        try:
            return super().recv(*args)
        except (TimeoutError, BlockingIOError):
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)
            return b""
        finally:
            super().settimeout(before)


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's own, with a deadline for the head of each request and one for its body."""

    def handle(self, conn: Any) -> Any:
        if not isinstance(conn.sock, DeadlineSocket):
            conn.sock = DeadlineSocket(fileno=conn.sock.detach())
        conn.sock.expect_within(HEAD_SECONDS)
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        conn.sock.expect_within(BODY_SECONDS + announced(req) / BYTES_PER_SECOND)
        return super().handle_request(req, conn)


def announced(req: Any) -> int:
    """How long the body is; one that comes in chunks may be as long as a call may send."""
    headers = dict(req.headers)
    if "TRANSFER-ENCODING" in headers:
        return LONGEST_CHUNKED
    length = headers.get("CONTENT-LENGTH", "0")
    return int(length) if length.isdecimal() else 0
