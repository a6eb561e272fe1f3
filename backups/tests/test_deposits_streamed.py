"""Deposits over real sockets: bodies that stop, go on too long, cross each other, or are larger than memory."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
import requests
from django.conf import settings as portal_settings
from django.db import connections

from agents.enrolment import issue_agent_token
from backups import deposits
from portal.tests.helpers.database import own_address
from portal.tests.helpers.portal_process import peak_memory
from portal.tests.helpers.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
NAME = "compta_db.sql.gz"
PATH = f"/api/v1/backups/deposits/database/{NAME}"
BODY = os.urandom(3 * deposits.CHUNK + 17)
MEBIBYTE = 1024 * 1024


def sha256(body):
    return hashlib.sha256(body).hexdigest()


SIZE, SHA256 = len(BODY), sha256(BODY)


@pytest.fixture
def folder(settings):
    """The folder of the deposits of PC-1."""
    yield settings.DEPOSITS_ROOT / "PC-1" / "database"
    connections.close_all()


@pytest.fixture
def token(agent):
    return issue_agent_token(agent)


@pytest.fixture
def begin(live_server, folder, token):
    """Return a function that opens a connection, and sends the head of a deposit and part of its body."""
    opened = []

    def beginning(sent=b"", *, length=SIZE, digest=SHA256, to=live_server.url):
        address = urlsplit(to)
        opened.append(socket.create_connection((address.hostname, address.port), timeout=PATIENCE))
        head = f"PUT {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        head += f"X-Content-SHA256: {digest}\r\nContent-Length: {length}\r\n\r\n"
        opened[-1].sendall(head.encode() + sent)
        return opened[-1]

    yield beginning
    for one in opened:
        one.close()


@pytest.fixture
def stages(monkeypatch):
    """Events of the server: the first part of a body was read, and a deposit ended."""
    come, over = threading.Event(), threading.Event()
    read, receive = deposits.read_chunk, deposits.store_deposit

    def reading(*args):
        data = read(*args)
        come.set()
        return data

    def receiving(*args):
        try:
            receive(*args)
        finally:
            over.set()

    monkeypatch.setattr(deposits, "read_chunk", reading)
    monkeypatch.setattr(deposits, "store_deposit", receiving)
    return come, over


def answer_of(sender):
    """Return status and body of the first response on the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += sender.recv(65536) or pytest.fail("no answer")
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(body) < length:
        body += sender.recv(65536) or pytest.fail("half an answer")
    return int(head.split()[1]), json.loads(body[:length])


def listed(folder):
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_file_sent_by_requests_is_stored(live_server, folder, token, tmp_path):
    (tmp_path / "dump").write_bytes(BODY)
    headers = {"Authorization": f"Bearer {token}", "X-Content-SHA256": sha256(BODY)}
    with open(tmp_path / "dump", "rb") as dump:
        answer = requests.put(live_server.url + PATH, data=dump, headers=headers, timeout=PATIENCE)
    assert (answer.status_code, answer.json()["size"]) == (201, len(BODY))
    assert (folder / NAME).read_bytes() == BODY


def test_chunked_body_is_refused(live_server, folder, token):
    headers = {"Authorization": f"Bearer {token}", "X-Content-SHA256": sha256(BODY)}
    answer = requests.put(live_server.url + PATH, data=iter([b"x"]), headers=headers, timeout=PATIENCE)
    assert (answer.status_code, answer.json()["code"]) == (400, "length_mismatch")
    assert listed(folder) == []


def test_short_body_is_a_length_mismatch_and_leaves_nothing(begin, folder):
    sender = begin(BODY[:-1])
    sender.shutdown(socket.SHUT_WR)
    status, body = answer_of(sender)
    assert (status, body["code"]) == (400, "length_mismatch")
    assert listed(folder) == []


def test_long_body_is_read_up_to_its_announced_length(begin, folder):
    sender = begin(BODY + b"more", length=len(BODY))
    sender.shutdown(socket.SHUT_WR)
    assert answer_of(sender)[0] == 201
    assert (folder / NAME).read_bytes() == BODY


def test_long_body_fails_the_checksum_of_the_whole(begin, folder):
    sender = begin(BODY, length=len(BODY) - 1)
    sender.shutdown(socket.SHUT_WR)
    status, body = answer_of(sender)
    assert (status, body["code"]) == (400, "checksum_mismatch")
    assert listed(folder) == []


def test_connection_reset_leaves_nothing(begin, folder, stages):
    come, over = stages
    sender = begin(BODY[: deposits.CHUNK + 5])
    assert come.wait(60)
    (part,) = listed(folder)
    assert deposits.PART.fullmatch(part)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sender.close()
    assert over.wait(60)
    assert listed(folder) == []


def test_previous_file_stays_until_the_deposit_is_complete(begin, folder, stages):
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"yesterday's")
    come, _over = stages
    sender = begin(BODY[: deposits.CHUNK + 5])
    assert come.wait(60)
    assert (folder / NAME).read_bytes() == b"yesterday's"
    sender.sendall(BODY[deposits.CHUNK + 5 :])
    assert answer_of(sender)[0] == 201
    assert (folder / NAME).read_bytes() == BODY


def test_last_of_two_simultaneous_deposits_wins_intact(begin, folder, stages):
    come, _over = stages
    slow = begin(BODY[: deposits.CHUNK + 5])
    assert come.wait(60)
    other = BODY[::-1]
    assert answer_of(begin(other, digest=sha256(other)))[0] == 201
    assert (folder / NAME).read_bytes() == other
    slow.sendall(BODY[deposits.CHUNK + 5 :])
    assert answer_of(slow)[0] == 201
    assert (folder / NAME).read_bytes() == BODY
    assert listed(folder) == [NAME]


# --- Under gunicorn --------------------------------------------------------------------------------------------------


LARGE = 100 * MEBIBYTE


@pytest.fixture(scope="module")
def gunicorn(django_db_setup, tmp_path_factory):
    """Serve the portal from one worker with two threads, and yield its address, process and deposit root."""
    root = tmp_path_factory.mktemp("served")
    environment = {"DATABASE_URL": own_address(), "DEPOSITS_ROOT": str(root), "DEPOSIT_MAX_BYTES": str(LARGE)}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "gunicorn", "-c", "python:portal.supervisor.web"]
        command += ["--chdir", str(portal_settings.BASE_DIR), "--bind", f"fd://{listening.fileno()}"]
        with subprocess.Popen(
            command,
            env=os.environ | environment | {"WEB_WORKERS": "1", "WEB_THREADS": "2"},
            cwd=portal_settings.BASE_DIR,
            pass_fds=[listening.fileno()],
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}", server.pid, root
            finally:
                server.terminate()


@pytest.fixture
def served(gunicorn):
    """The address of gunicorn, the process id of its worker, and the empty folder of the deposits of PC-1."""
    address, server, root = gunicorn
    assert requests.get(f"{address}/healthz", timeout=PATIENCE).ok
    shutil.rmtree(root / "PC-1", ignore_errors=True)
    with open(f"/proc/{server}/task/{server}/children") as children:
        return address, int(children.read().split()[0]), root / "PC-1" / "database"


def put(address, token, body, digest):
    headers = {"Authorization": f"Bearer {token}", "X-Content-SHA256": digest}
    return requests.put(address + PATH, data=body, headers=headers, timeout=PATIENCE)


@pytest.fixture
def zeros(tmp_path):
    """Yield an open sparse file of `size` zero bytes."""
    opened = []

    def making(length):
        opened.append(open(tmp_path / f"zeros-{length}", "w+b"))  # noqa: SIM115 - closed below
        opened[-1].truncate(length)
        return opened[-1]

    yield making
    for one in opened:
        one.close()


@pytest.mark.one_database("streams and files")
def test_large_deposit_takes_little_memory(served, token, zeros):
    address, worker, folder = served
    dump = zeros(LARGE)
    digest = hashlib.file_digest(dump, "sha256").hexdigest()
    dump.seek(0)
    assert put(address, token, b"x", sha256(b"x")).status_code == 201  # whatever is loaded at the first call
    before = peak_memory(worker)
    assert put(address, token, dump, digest).status_code == 201
    assert peak_memory(worker) - before < 32 * MEBIBYTE
    assert (folder / NAME).stat().st_size == LARGE


@pytest.mark.one_database("streams and files")
@pytest.mark.parametrize(
    ("sender", "expected"), [("machine", (413, "body_too_large")), ("nobody", (401, "invalid_token"))]
)
def test_refused_deposit_is_answered_unread(served, token, zeros, sender, expected):
    address, _worker, folder = served
    answer = put(address, token if sender == "machine" else "x", zeros(LARGE + 1), "0" * 64)
    assert (answer.status_code, answer.json()["code"]) == expected
    assert listed(folder) == []


@pytest.mark.one_database("streams and files")
def test_stalled_deposits_leave_a_thread_to_other_requests(begin, served, token):
    address, _worker, folder = served
    first = begin(BODY[: deposits.CHUNK], to=address)
    wait_for("the part", lambda: any(map(deposits.PART.fullmatch, listed(folder))))
    assert [answer_of(begin(BODY[:1], to=address))[0] for _ in range(5)] == [503] * 5
    assert put(address, token, b"small", sha256(b"small")).status_code == 201
    first.sendall(BODY[deposits.CHUNK :])
    assert answer_of(first)[0] == 201
    assert (folder / NAME).read_bytes() == BODY


@pytest.mark.one_database("streams and files")
def test_killed_worker_leaves_a_part_and_the_previous_file(begin, served):
    address, worker, folder = served
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"yesterday's")
    sender = begin(BODY[: 2 * deposits.CHUNK], to=address)
    wait_for("the part", lambda: any(map(deposits.PART.fullmatch, listed(folder))))
    os.kill(worker, signal.SIGKILL)
    with contextlib.suppress(ConnectionResetError):
        assert sender.recv(1) == b""
    assert (folder / NAME).read_bytes() == b"yesterday's"
    assert len(listed(folder)) == 2
