"""Senders that stop half-way, against the web server with one thread and short deadlines."""

import contextlib
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from portal.tests.up.standing import MANAGE

WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def port():
    command = [sys.executable, "-m", "portal.tests.slow_senders"]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(MANAGE[1]).parent, env=environment)
    yield int(server.stdout.readline())
    server.terminate()
    server.wait()
    server.stdout.close()


@pytest.fixture
def connect(port):
    opened = []

    def connecting(sent):
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=30))
        opened[-1].sendall(sent)
        return opened[-1]

    yield connecting
    for connection in opened:
        connection.close()


def everything(connection):
    """What comes until the other side hangs up, or until the answer is whole."""
    found = b""
    while not found.endswith(b"ok") and (data := connection.recv(4096)):
        found += data
    return found


@pytest.mark.parametrize("half", [
    b"POST / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\no",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no",
])  # fmt: skip
def test_half_a_request_is_hung_up_on_and_keeps_no_other_waiting_for_ever(connect, half):
    halves = [connect(half) for _ in range(2)]
    assert everything(connect(WHOLE)).endswith(b"\r\n\r\nok")
    assert [everything(each) for each in halves] == [b"", b""]


def dripped(connection, bytes_each, times):
    """Sends it in small pieces; whether the other side hung up."""
    for _ in range(times):
        if select.select([connection], [], [], 0.02)[0]:
            return connection.recv(1) == b""
        with contextlib.suppress(OSError):
            connection.sendall(bytes_each)
    return False


def test_dripping_head_is_hung_up_on(connect):
    assert dripped(connect(b"POST / HTTP/1.1\r\n"), b"X-1: 1\r\n", times=600)


@pytest.mark.parametrize(("path", "is_cut_off"), [("/", True), ("/deposit", False)])
def test_slow_body_has_its_time_except_as_a_deposit(connect, path, is_cut_off):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n".encode()
    slow = connect(head)
    assert dripped(slow, b"o", times=48) is is_cut_off
    if not is_cut_off:
        slow.sendall(b"ok")
        assert everything(slow).endswith(b"ok")


def test_next_request_of_a_connection_has_its_own_deadline(connect):
    connection = connect(WHOLE)
    assert everything(connection).endswith(b"ok")
    assert not select.select([connection], [], [], 0.6)[0]
    connection.sendall(WHOLE)
    assert everything(connection).endswith(b"ok")


def test_portal_is_served_with_deadlines():
    web = {}
    exec((Path(settings.BASE_DIR) / "portal/supervisor/web.py").read_text(), web)
    assert web["worker_class"] == "portal.supervisor.connections.Worker"
