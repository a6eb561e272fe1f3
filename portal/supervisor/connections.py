"""Connections of the web server: its poller receives each request, and a thread gets it once nothing is missing.

A sender that drips, falls silent or never begins therefore costs some memory, which is bounded, and no thread. Nor does
a client that was refused: the poller throws away what it still sends, for a moment, so that it can read its answer.
"""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import TConn, ThreadWorker

from portal.supervisor.buffered import BufferedSocket
from portal.supervisor.incoming import IN_MEMORY, Incoming

HEAD_SECONDS = 10.0
BODY_SECONDS, BYTES_PER_SECOND = 30.0, 8 * 1024
# Of a PUT, which stores a file and may take as long as bytes keep coming.
PAUSE_SECONDS = 60.0
LINGER_SECONDS, MOST_DISCARDED = 1.0, 64 * 1024
LOOK_SECONDS = 0.2
# Of all temporary files of a process together.
MOST_STORED = 256 * 1024 * 1024
# What a process opens beside its connections, each of which has a socket and perhaps two temporary files.
OTHER_FILES, FILES_EACH = 256, 3


class Connection(TConn):  # type: ignore[misc]
    """gunicorn's own. `timeout` is until when the poller waits for it."""

    def __init__(self, worker: Worker, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, BufferedSocket(fileno=sock.detach()), client, server)
        self.worker = worker
        self.is_polled = False
        self.discarded = 0
        self.data_ready = True  # no thread waits for a first byte

    @property
    def stored(self) -> int:
        """Return the bytes in its temporary files."""
        incoming, unsent = self.sock.incoming, self.sock.unsent
        sizes = (0 if incoming.file.closed else incoming.taken, unsent.end if unsent else 0)
        return sum(size for size in sizes if size > IN_MEMORY)

    def begin(self) -> None:
        self.sock.incoming, self.sock.is_awaited, self.sock.owes_continue = Incoming(), False, False
        self.sock.setblocking(False)
        self.timeout = time.monotonic() + HEAD_SECONDS

    def feed(self, data: bytes) -> bool:
        """Take received bytes; return True once a thread can handle the request."""
        incoming, now = self.sock.incoming, time.monotonic()
        had_head = incoming.has_head
        is_ready: bool = incoming.feed(data)
        if incoming.has_head and not had_head:
            self.timeout = now + BODY_SECONDS + incoming.missing / BYTES_PER_SECOND
            self.sock.owes_continue = incoming.expects_continue
            if not is_ready:
                self.sock.send_continue()
        if incoming.is_put:
            self.timeout = now + PAUSE_SECONDS
        return is_ready

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self.worker.linger(self)
        else:
            super().close()


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's own, whose threads get whole requests from its poller."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whom the poller waits for, the longest waiting first.
        self.waiting: dict[Connection, None] = {}
        self.in_threads: set[Connection] = set()
        self.next_look = 0.0

    def accept(self, listener: Any) -> None:
        try:
            sock, client = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no more files can be opened
            self.make_room()
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self.make_room()
        self.enqueue_req(Connection(self, sock, client, listener.getsockname()))

    def make_room(self) -> None:
        """Close the connection that has been idle longest, or else drop whoever has been waited for longest."""
        if self.keepalived_conns:
            self.keepalived_conns[0].timeout = 0.0
            self.murder_keepalived()
        elif self.waiting:
            self.drop(next(iter(self.waiting)))

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:
        if conn in self.keepalived_conns:  # not closed in this round of events
            super().on_client_socket_readable(conn, client)

    # --- Receiving ---------------------------------------------------------------------------------------------------

    def enqueue_req(self, conn: Connection) -> None:
        """Receive a request, of which some may have come after the one before, and then have a thread answer it."""
        early = conn.parser.unreader.take_buffered() if conn.parser else b""
        conn.begin()
        self.waiting[conn] = None
        self.receive(conn, early=early)

    def receive(self, conn: Connection, _sock: Any = None, early: bytes = b"") -> None:
        if conn not in self.waiting:  # dropped in this round of events
            return
        try:
            data = early or conn.sock.receive()
            is_ready = bool(data) and conn.feed(data)
        except BlockingIOError:
            self.poll(conn, self.receive)
            return
        except OSError:  # no room for its temporary file
            self.drop(conn)
            return
        if is_ready:
            self.hand_over(conn)
        elif data:
            self.poll(conn, self.receive)
        else:
            self.drop(conn)

    def hand_over(self, conn: Connection) -> None:
        self.forget(conn)
        if conn.sock.incoming.is_too_long:
            self.handle_error(None, conn.sock, conn.client, LimitRequestHeaders("head"))
            self.nr_conns -= 1
            self.linger(conn)
        else:
            conn.sock.incoming.file.seek(0)
            self.in_threads.add(conn)
            super().enqueue_req(conn)

    # --- In a thread -------------------------------------------------------------------------------------------------

    def handle(self, conn: Connection) -> Any:
        is_kept = super().handle(conn)
        with conn.sock.incoming.file as file:
            if is_kept:
                unreader = conn.parser.unreader
                unreader.unread(unreader.take_buffered() + file.read())
        return is_kept

    def handle_request(self, req: Any, conn: Connection) -> Any:
        req._expected_100_continue = False  # the socket says it, once somebody waits for the body
        if conn.sock.incoming.is_left_to_view:
            req.force_close()
        return super().handle_request(req, conn)

    # --- Parting -----------------------------------------------------------------------------------------------------

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Go on once the client has taken its answer."""
        self.in_threads.discard(conn)
        if conn.sock.unsent is None:
            super().finish_request(conn, fs)
        else:
            self.waiting[conn] = None
            conn.timeout = time.monotonic() + BODY_SECONDS + len(conn.sock.unsent) / BYTES_PER_SECOND
            self.flush(fs, conn)

    def flush(self, fs: Any, conn: Connection, _sock: Any = None) -> None:
        if conn not in self.waiting:
            return
        try:
            conn.sock.send_unsent()
        except OSError:
            self.drop(conn)
            return
        if conn.sock.unsent:
            self.poll(conn, partial(self.flush, fs), selectors.EVENT_WRITE)
        else:
            self.forget(conn)
            super().finish_request(conn, fs)

    def linger(self, conn: Connection) -> None:
        """Let the client read its answer, which would be lost if the connection were closed with data unread."""
        self.nr_conns += 1
        self.waiting[conn] = None
        conn.discarded = conn.sock.incoming.taken
        conn.timeout = time.monotonic() + LINGER_SECONDS
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
        else:
            self.discard(conn)

    def discard(self, conn: Connection, _sock: Any = None) -> None:
        if conn not in self.waiting:
            return
        left = MOST_DISCARDED - conn.discarded
        if left <= 0:  # the rest stays unread until the time is over
            self.unpoll(conn)
            return
        try:
            data = conn.sock.receive(left)
        except BlockingIOError:
            self.poll(conn, self.discard)
            return
        conn.discarded += len(data)
        if data:
            self.poll(conn, self.discard)
        else:
            self.drop(conn)

    def drop(self, conn: Connection) -> None:
        self.forget(conn)
        self.nr_conns -= 1
        conn.close()

    # --- Waiting -----------------------------------------------------------------------------------------------------

    def poll(self, conn: Connection, callback: Callable[..., None], event: int = selectors.EVENT_READ) -> None:
        if not conn.is_polled:
            self.poller.register(conn.sock, event, partial(callback, conn))
            conn.is_polled = True

    def unpoll(self, conn: Connection) -> None:
        if conn.is_polled:
            self.poller.unregister(conn.sock)
            conn.is_polled = False

    def forget(self, conn: Connection) -> None:
        self.unpoll(conn)
        del self.waiting[conn]

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, LOOK_SECONDS) if self.waiting else timeout)

    def murder_pending(self) -> None:
        """Drop those whose time is over, and the longest waiting of those that store too much together.

        gunicorn asks after each round of events.
        """
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + LOOK_SECONDS
        total = sum(conn.stored for conn in self.in_threads)
        for conn in reversed(list(self.waiting)):
            stored = conn.stored
            total += stored
            if conn.timeout <= now or (stored and total > MOST_STORED):
                self.drop(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """The server ends: what has not begun has little time left to."""
        super()._cap_keepalive(deadline)
        for conn in self.waiting:
            if not conn.sock.incoming.has_head:
                conn.timeout = min(conn.timeout, deadline)


def most_connections(wanted: int) -> int:
    """Return how many connections a process may hold: as many as wanted, if the limit of open files allows it.

    The soft limit is raised as far as that needs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES_EACH * wanted + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return (allowed - OTHER_FILES) // FILES_EACH
