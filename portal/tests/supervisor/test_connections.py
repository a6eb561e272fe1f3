"""Clients that are slow, stop half-way or read no response, against the web server with one thread."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

from portal.supervisor.buffered import MOST_UNSENT
from portal.supervisor.incoming import MOST_HEAD
from portal.tests.helpers.portal_process import MANAGE
from portal.tests.helpers.slow_senders import CONNECTIONS, LONG
from portal.tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.slow

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\nok"
CLOSING = HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok"
MEBIBYTE = 1024 * 1024


@contextlib.contextmanager
def served(*arguments):
    command = [sys.executable, "-m", "portal.tests.helpers.slow_senders", *arguments]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(MANAGE[1]).parent, env=environment)
    try:
        yield int(server.stdout.readline()), server
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


@pytest.fixture(scope="module")
def port():
    with served() as (port, _):
        yield port


@pytest.fixture(scope="module")
def short_port():
    """Return the port of a server with short deadlines."""
    with served("short") as (port, _):
        yield port


@pytest.fixture
def connect(port):
    opened = []

    def connecting(sent, to=port, **options):
        opened.append(socket.socket())
        opened[-1].settimeout(PATIENCE)
        for option, value in options.items():
            opened[-1].setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
        opened[-1].connect(("127.0.0.1", to))
        opened[-1].sendall(sent)
        return opened[-1]

    yield connecting
    for connection in opened:
        connection.close()


def everything(connection):
    """Return what arrives until the server closes the connection or the response is complete."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while not found.endswith(b"ok") and (data := connection.recv(65536)):
            found += data
    return found


# --- Slow clients block nobody------------------------------------------------------------------------------------------

HALVES = {
    "nothing": b"",
    "half a head": b"POST / HTTP/1.1\r\nHo",
    "no body": HEAD + b"Content-Length: 2\r\n\r\n",
    "half a body": HEAD + b"Content-Length: 2\r\n\r\no",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\no",
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    "half a second request": WHOLE + HEAD,
    "a body of a form": HEAD + b"Cookie: x=1\r\nContent-Length: 2000000\r\n\r\n",
    "a body of a deposit": b"PUT /deposit HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
    "a body that is refused": b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n",
    "a body that is too long": HEAD + b"Content-Length: 10000000\r\n\r\n",
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_unfinished_requests_leave_the_only_thread_to_others(connect, half):
    unfinished = [connect(half) for _ in range(5)]
    assert everything(connect(WHOLE)).endswith(b"\r\n\r\nok")
    if not half.startswith(WHOLE) and b"10000000" not in half:
        assert select.select(unfinished, [], [], 0)[0] == []


def test_clients_that_read_no_answer_leave_the_only_thread_to_others(connect):
    idle = [connect(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", SO_RCVBUF=4096) for _ in range(5)]
    assert everything(connect(WHOLE)).endswith(b"\r\n\r\nok")
    assert everything(idle[0]).endswith(b"\r\n\r\n" + LONG)


def test_connection_limit_drops_the_longest_waiting_client(connect):
    waiting = [connect(HEAD) for _ in range(CONNECTIONS)]
    assert everything(connect(WHOLE)).endswith(b"\r\n\r\nok")
    assert waiting[0].recv(1) == b""
    assert select.select(waiting[-5:], [], [], 0)[0] == []


def await_idle(connection):
    """Have a second request answered: before it takes that, the server notes the end of all requests answered so far.

    Until then a connection is neither idle nor awaited, though its client has the answer; also those of earlier tests.
    """
    assert everything(connection).endswith(b"ok")
    connection.sendall(WHOLE)
    assert everything(connection).endswith(b"ok")


def test_connection_limit_closes_idle_connections_first(connect):
    kept = [connect(WHOLE)]
    await_idle(kept[0])
    waiting = connect(HEAD)
    kept += [connect(WHOLE) for _ in range(CONNECTIONS - 3)]
    assert all(everything(connection).endswith(b"ok") for connection in kept[1:-1])
    await_idle(kept[-1])
    assert everything(connect(WHOLE)).endswith(b"\r\n\r\nok")
    assert kept[0].recv(1) == b""
    assert select.select([waiting], [], [], 0)[0] == []


def test_connection_beyond_the_file_limit_replaces_the_oldest(connect):
    with served("few") as (port, _):
        waiting = [connect(HEAD, to=port) for _ in range(CONNECTIONS)]
        assert everything(connect(WHOLE, to=port)).endswith(b"ok")
        assert waiting[0].recv(1) == b""
        assert select.select(waiting[-3:], [], [], 0)[0] == []


def test_idle_connection_closed_while_it_sends_affects_no_other(connect):
    with served() as (port, server):
        kept = [connect(WHOLE, to=port) for _ in range(CONNECTIONS - 1)]
        assert all(everything(connection).endswith(b"ok") for connection in kept)
        worker = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text())
        os.kill(worker, signal.SIGSTOP)
        newcomer = connect(WHOLE, to=port)
        kept[0].sendall(WHOLE)
        os.kill(worker, signal.SIGCONT)  # so that it sees both events at once
        assert everything(newcomer).endswith(b"ok")
        kept[1].sendall(WHOLE)
        assert everything(kept[1]).endswith(b"ok")


def test_storage_limit_drops_the_longest_waiting_bodies(connect):
    with served("small") as (port, _):
        short, *long = [
            connect(HEAD + b"Authorization: x\r\nContent-Length: 900000\r\n\r\n" + bytes(size), to=port)
            for size in (10, 400_000, 400_000, 400_000)
        ]
        assert everything(long[0]) == b""
        assert everything(connect(WHOLE, to=port)).endswith(b"ok")
        assert select.select([short, *long[1:]], [], [], 0)[0] == []


@pytest.mark.parametrize(
    "body", [b"Content-Length: 20\r\n\r\nshort", b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"]
)
def test_truncated_body_reaches_no_view(connect, body):
    connection = connect(HEAD + body)
    connection.shutdown(socket.SHUT_WR)
    assert everything(connection) == b""


# --- Deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing", "half a head", "half a body", "half a chunk"])
def test_partial_request_is_closed_without_an_answer(connect, short_port, name):
    assert everything(connect(HALVES[name], to=short_port)) in {b"", HALVES[name]}


def dripped(connection, bytes_each, times):
    """Send data in small pieces; return whether the server closed the connection."""
    for _ in range(times):
        if select.select([connection], [], [], 0.02)[0]:
            return connection.recv(1) == b""
        with contextlib.suppress(OSError):
            connection.sendall(bytes_each)
    return False


def test_dripping_head_is_closed_at_its_deadline(connect, short_port):
    assert dripped(connect(b"POST / HTTP/1.1\r\n", to=short_port), b"X-1: 1\r\n", times=600)


@pytest.mark.parametrize(
    ("method", "path", "length"), [("POST", "/", 102), ("PUT", "/", 102), ("PUT", "/deposit", 100_002)]
)
def test_slow_body_has_a_deadline_except_as_a_deposit(connect, short_port, method, path, length):
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    slow = connect(head.encode(), to=short_port)
    assert dripped(slow, bytes(length // 100), times=100) is (method == "POST")
    if method == "PUT":
        slow.sendall(b"ok")
        assert everything(slow).endswith(b"ok")


def test_next_request_of_a_connection_has_its_own_deadline(connect, short_port):
    connection = connect(WHOLE, to=short_port)
    assert everything(connection).endswith(b"ok")
    assert not select.select([connection], [], [], 0.6)[0]
    connection.sendall(WHOLE)
    assert everything(connection).endswith(b"ok")


# --- The server itself -----------------------------------------------------------------------------------------------


def test_full_disk_fails_only_long_requests(connect):
    with served("full") as (port, _):
        kept = connect(WHOLE, to=port)
        assert everything(kept).endswith(b"ok")
        assert (
            everything(connect(HEAD + b"Authorization: x\r\nContent-Length: 900000\r\n\r\n" + bytes(80_000), to=port))
            == b""
        )
        kept.sendall(WHOLE)
        assert everything(kept).endswith(b"ok")


def test_stopping_server_finishes_started_requests_and_waits_for_nothing_else(connect):
    head = b"PUT /deposit HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100002\r\n\r\n"
    with served() as (port, server):
        for _ in range(10):
            connect(HEAD, to=port)
        begun = connect(head, to=port)
        assert begun.recv(12) == b"HTTP/1.1 100"  # a thread waits for the body
        server.send_signal(signal.SIGTERM)
        begun.sendall(bytes(100_000) + b"ok")
        assert everything(begun).endswith(b"ok")
        assert server.wait(20) == 0


# --- Normal requests ------------------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(connect):
    connection = connect(WHOLE + WHOLE.replace(b"ok", b"no") + CLOSING)
    answers = b""
    while data := connection.recv(65536):
        answers += data
    assert [part[:2] for part in answers.split(b"\r\n\r\n")[1:]] == [b"ok", b"no", b"ok"]


def test_chunked_body_arrives(port):
    answer = requests.post(f"http://127.0.0.1:{port}/", data=iter([b"a" * 10_000, b"b" * 10_000]), timeout=PATIENCE)
    assert answer.content == b"a" * 10_000 + b"b" * 10_000


def test_long_body_with_a_token_arrives(port):
    body = os.urandom(MEBIBYTE)
    answer = requests.post(f"http://127.0.0.1:{port}/", data=body, headers={"Authorization": "x"}, timeout=PATIENCE)
    assert answer.content == body


@pytest.mark.parametrize(("path", "length"), [("/", 2), ("/deposit", 5 * MEBIBYTE)])
def test_expect_continue_is_answered_once(connect, path, length):
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    connection = connect(head.encode())
    assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(bytes(length - 2) + b"ok")
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(answer.partition(b"\r\n\r\n")[2]) == length


def test_expect_continue_is_refused_without_the_body(connect):
    head = b"PUT /refused HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n"
    answer = everything(connect(head))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nno")


def test_refused_body_is_not_read_and_the_answer_arrives(connect):
    connection = connect(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 100 * MEBIBYTE:
            sent += connection.send(bytes(MEBIBYTE))
    assert sent < 20 * MEBIBYTE  # what the socket buffers of both sides hold
    assert everything(connection).endswith(b"\r\n\r\nno")


REFUSED = {
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", b"400"),
    "length and chunks": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    "unknown coding": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", b"501"),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    "a length in words": (HEAD + b"Content-Length: +2\r\n\r\nok", b"400"),
    "a folded length": (HEAD + b"X: 1\r\n Content-Length: 2\r\n\r\nok", b"400"),
    "bare line feeds": (b"POST / HTTP/1.1\nHost: x\n\n", b"400"),
    "a long head": (HEAD + b"X-Header: 12345\r\n" * (MOST_HEAD // 17 + 1), b"431"),
    "many headers": (HEAD + b"X: 1\r\n" * 101 + b"\r\n", b"431"),
    "a long header": (HEAD + b"X: " + b"1" * 9000 + b"\r\n\r\n", b"431"),
    "a long address": (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", b"414"),
}


@pytest.mark.parametrize("length", [b"%025d" % 37, b"9" * 20, b"10000000"])
@pytest.mark.parametrize("path", [b"/", b"/refused"])
def test_missing_body_is_taken_neither_as_complete_nor_as_a_request(connect, path, length):
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    connection = connect(HEAD.replace(b"/", path, 1) + b"Content-Length: " + length + b"\r\n\r\n")
    answer = everything(connection) if path == b"/" else connection.recv(65536)
    with contextlib.suppress(OSError):
        connection.sendall(smuggled)
    answer += everything(connection)
    assert answer.count(b"HTTP/1.1 ") == answer.count(b"\r\n\r\nno") <= 1


@pytest.mark.parametrize(("request_bytes", "expected"), REFUSED.values(), ids=REFUSED)
def test_ambiguous_request_is_refused_with_all_that_follows(connect, request_bytes, expected):
    answers = everything(connect(request_bytes + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert answers.split()[1] == expected
    assert answers.count(b"HTTP/1.1 ") == 1


def test_static_files_are_small_enough_to_block_no_thread():
    sizes = [storage.size(path) for finder in get_finders() for path, storage in finder.list(None)]
    assert 0 < max(sizes) < MOST_UNSENT


def test_portal_is_served_by_this_worker():
    web = {}
    exec((Path(settings.BASE_DIR) / "portal/supervisor/web.py").read_text(), web)
    assert web["worker_class"] == "portal.supervisor.connections.Worker"
    assert web["worker_connections"] > 1000
