"""A socket between the poller and a thread: neither its reads nor its writes wait for the other side."""

import errno
import socket
from tempfile import SpooledTemporaryFile
from typing import Any

from portal.supervisor.incoming import IN_MEMORY, Incoming

PIECE = 64 * 1024
# How much of an answer is kept for a client that is slow to take it. Static files and pages are smaller; with a
# larger export or download the thread waits, as long at each pause.
MOST_UNSENT = 4 * 1024 * 1024
LONGEST_PAUSE = 60.0


class Unsent:
    """The unsent rest of a response, in a temporary file unless it is short."""

    def __init__(self) -> None:
        self.file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - lives as long as this
        self.start, self.end = 0, 0

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, data: memoryview) -> None:
        self.file.seek(self.end)
        self.end += self.file.write(data)

    def piece(self) -> bytes:
        self.file.seek(self.start)
        return self.file.read(PIECE)


class BufferedSocket(socket.socket):
    """Reads what the poller has received, and leaves to the poller what the client does not take at once.

    `unsent` is what the poller must send before it goes on with the connection.
    """

    incoming: Incoming
    unsent: Unsent | None = None
    is_awaited = False
    owes_continue = False

    def receive(self, most: int = PIECE) -> bytes:
        """Return received bytes, or none at the end of the stream. Raises BlockingIOError if more may follow."""
        try:
            return super().recv(most)
        except BlockingIOError:
            raise
        except OSError:
            return b""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises ConnectionResetError where more is asked for than was received: an end would pass for the body's."""
        if data := self.incoming.file.read(size):
            return data
        if not self.is_awaited:
            raise ConnectionResetError(errno.ECONNRESET, "the rest of the request was not received")
        self.send_continue()
        return super().recv(size, flags)

    def await_body(self, longest_pause: float) -> None:
        """Let the thread wait for the rest of the body."""
        self.is_awaited = True
        self.settimeout(longest_pause)

    def send_continue(self) -> None:
        if self.owes_continue:
            self.owes_continue = False
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def sendall(self, data: Any, flags: int = 0) -> None:
        left = memoryview(data)
        if self.unsent is None:
            left = left[self.send_now(left) :]
        if left:
            self.unsent = self.unsent or Unsent()
            self.unsent.append(left)
            if len(self.unsent) > MOST_UNSENT:
                self.wait_until_sent()

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        if count is None or count > MOST_UNSENT:
            self.wait_until_sent()
            return super().sendfile(file, offset, count)
        file.seek(offset)
        self.sendall(file.read(count))
        return count

    def wait_until_sent(self) -> None:
        self.settimeout(LONGEST_PAUSE)
        while self.unsent:
            piece = self.unsent.piece()
            super().sendall(piece)
            self.unsent.start += len(piece)
        self.unsent = None

    def send_unsent(self) -> None:
        """Send what the client takes now; `unsent` is None once that was all. Raises OSError where it is gone."""
        if self.unsent:
            self.unsent.start += self.send_now(self.unsent.piece())
        if not self.unsent:
            self.unsent = None

    def send_now(self, data: Any) -> int:
        try:
            return super().send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
