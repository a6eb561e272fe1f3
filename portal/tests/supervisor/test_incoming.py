"""Finding the end of a request, however its bytes are split."""

import pytest

from portal.supervisor.incoming import ANONYMOUS, CALL, FORM, MOST_CHUNKS, MOST_HEAD, Incoming

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = [
    b"GET / HTTP/1.0\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    HEAD + b"\r\n",
    HEAD + b"Content-Length: 2\r\n\r\nok",
    HEAD + b"content-length:\t10 \r\n\r\nab\r\n\r\ncd\r\n",
    CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    CHUNKED + b"A;name=value\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", WHOLE)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_request_is_complete_with_its_last_byte(request_bytes, size):
    incoming = Incoming()
    pieces = [request_bytes[at : at + size] for at in range(0, len(request_bytes), size)]
    assert [incoming.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert not incoming.is_left_to_view
    incoming.file.seek(0)
    assert incoming.file.read() == request_bytes


def test_start_of_a_pipelined_request_is_kept():
    incoming = Incoming()
    assert incoming.feed(WHOLE[3] + WHOLE[0])
    incoming.file.seek(0)
    assert incoming.file.read() == WHOLE[3] + WHOLE[0]


@pytest.mark.parametrize("refused", [
    b"GET / HTTP/1.1\nHost: x\n", HEAD + b"X: 1\n", CHUNKED + b"-2\r\n", CHUNKED + b"zz\r\n", CHUNKED + b"1;" + b"x" * 300,
    HEAD + b"Transfer-Encoding: xchunked\r\n\r\n", HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    HEAD + b"Content-Length: two\r\n\r\n", CHUNKED + b"1\r\nx\r\n" * MOST_CHUNKS + b"1\r\nx\r\n",
])  # fmt: skip
def test_malformed_request_is_complete_so_that_the_parser_refuses_it(refused):
    assert Incoming().feed(refused)


def test_head_without_end_is_too_long_at_its_limit():
    incoming = Incoming()
    fed = [incoming.feed(b"X-Header: 12345\r\n") for _ in range(MOST_HEAD // 17 + 1)]
    assert fed == [False] * (len(fed) - 1) + [True]
    assert incoming.is_too_long


def test_head_beyond_its_limit_is_too_long_with_its_end():
    incoming = Incoming()
    assert incoming.feed(HEAD + b"X-Header: 12345\r\n" * (MOST_HEAD // 17) + b"\r\n")
    assert incoming.is_too_long


@pytest.mark.parametrize(
    ("path", "header", "most", "most_in_chunks"),
    [
        ("/", "X: 1", ANONYMOUS, ANONYMOUS),
        ("/", "Authorization: x", CALL, CALL),
        ("/", "cookie: x=1", FORM, CALL),
        ("/api/v1/beta/feedback?key=x", "X: 1", CALL, CALL),
        ("/feedback/key", "X: 1", CALL, CALL),
        ("/x?/feedback/key", "X: 1", ANONYMOUS, ANONYMOUS),
        ("/feedback/key/more", "X: 1", ANONYMOUS, ANONYMOUS),
    ],
)
def test_body_longer_than_its_limit_is_left_to_the_view(path, header, most, most_in_chunks):
    begin = f"POST {path} HTTP/1.1\r\n{header}\r\n"
    for length, is_left in ((most, False), (most + 1, True)):
        incoming = Incoming()
        head = f"{begin}Content-Length: {length}\r\n\r\n".encode()
        assert (incoming.feed(head), incoming.is_left_to_view) == (is_left, is_left)
    incoming = Incoming()
    incoming.feed(f"{begin}Transfer-Encoding: chunked\r\n\r\nffffff\r\n".encode())
    fed = [incoming.feed(bytes(most_in_chunks // 4)) for _ in range(5)]
    assert fed == [False, False, False, False, True]
    assert incoming.is_left_to_view
