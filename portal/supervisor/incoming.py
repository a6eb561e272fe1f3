"""Buffer a request until it has arrived as a whole, so that no thread waits for its sender.

This module only finds where a request ends. gunicorn's parser reads the same bytes in a thread and decides what they
mean. If the two disagree, the parser asks for more than was received and the connection ends: a mistake made here
neither blocks a thread nor splits one request into two (request smuggling).
"""

import re
from tempfile import SpooledTemporaryFile

from portal.base.uploads import MOST_ANONYMOUS_BYTES, MOST_FORM_BYTES

KIB = 1024
MOST_HEAD = 32 * KIB
# A longer request is kept in a temporary file.
IN_MEMORY = 32 * KIB
# How much of a body is received before a thread gets the request: without credentials, with a token, with a cookie.
# A longer body is left to the view, which refuses it unread; only a deposit is waited for. Nothing longer is accepted
# in a call (see `portal.api.bodies`) or in a form (see `backups.admin.imports`), nor without credentials, except for
# feedback by a public key, in a call or by its form.
ANONYMOUS, CALL, FORM = MOST_ANONYMOUS_BYTES, 1024 * KIB, MOST_FORM_BYTES
PUBLIC = re.compile(rb"post (?:/api/v1/beta/feedback|/feedback/[^/? ]+)[? ]")
LONGEST_CHUNK_LINE = 256
# Each costs the parser as much as a kilobyte.
MOST_CHUNKS = 10_000

BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*\bchunked[ \t]*\r\n")


class Chunks:
    """Finds the end of a chunked body. A malformed one, or one of too many, ends at once, and the parser refuses it."""

    def __init__(self) -> None:
        self.line = b""
        self.count = 0
        self.skip = 0
        self.is_in_trailers = False

    def feed(self, data: bytes) -> bool:
        """Take received bytes; return True at the end of the body."""
        data, at = self.line + data, self.skip
        while (end := data.find(b"\n", at)) >= 0:
            line = data[at:end].strip()
            at = end + 1
            if self.is_in_trailers:
                if not line:
                    return True
                continue
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                return True
            self.count += 1
            if size < 0 or self.count > MOST_CHUNKS:
                return True
            self.is_in_trailers = size == 0
            at += size + 2 if size else 0
        self.skip = max(0, at - len(data))
        self.line = data[at:]
        return len(self.line) > LONGEST_CHUNK_LINE


class Incoming:
    """One request as it arrives. `file` holds what has arrived once `feed` has returned True."""

    def __init__(self) -> None:
        self.file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed with the request
        self.head = bytearray()
        self.has_head = False
        self.chunks: Chunks | None = None
        # Bytes of the body: how many must still come, how many have come, how many may.
        self.missing, self.taken, self.most = 0, 0, 0
        self.is_put = False
        self.expects_continue = False
        self.is_left_to_view = False

    @property
    def is_too_long(self) -> bool:
        return not self.has_head and len(self.head) > MOST_HEAD

    def feed(self, data: bytes) -> bool:
        """Take what has arrived. True where there is nothing to wait for: it is all here, too much, or malformed."""
        if self.has_head:
            return self.take(data)
        searched = max(0, len(self.head) - 3)
        self.head += data
        end = self.head.find(b"\r\n\r\n", searched) + 4
        if 4 <= end <= MOST_HEAD:
            head, rest = bytes(self.head[:end]), bytes(self.head[end:])
            self.file.write(head)
            self.head.clear()
            self.read_head(head.lower())
            return self.take(rest)
        if BARE_LINE_FEED.search(self.head, searched):
            self.file.write(self.head)
            return True
        return self.is_too_long

    def read_head(self, head: bytes) -> None:
        self.has_head = True
        line = head.lstrip().partition(b"\r\n")[0]
        if b"\r\ncookie:" in head:
            self.most = FORM
        else:
            self.most = CALL if b"\r\nauthorization:" in head or PUBLIC.match(line) else ANONYMOUS
        length, chunked = LENGTH.search(head), CHUNKED.search(head)
        if chunked and not length:
            self.most = min(self.most, CALL)  # no browser sends a form in chunks
            self.chunks, self.missing = Chunks(), self.most
            self.most += self.most // 8  # room for what is between the chunks
        elif length and not chunked:
            self.missing = int(length[1])
        self.is_left_to_view = self.missing > self.most
        self.is_put = line.startswith(b"put ")
        self.expects_continue = b"\r\nexpect:" in head and line.endswith(b" http/1.1")

    def take(self, data: bytes) -> bool:
        self.file.write(data)
        self.taken += len(data)
        self.missing -= len(data)
        if self.chunks.feed(data) if self.chunks else self.missing <= 0:
            return True
        self.is_left_to_view |= self.taken > self.most
        return self.is_left_to_view
