"""An S3 store on this machine, and a proxy before it that fails as stores do."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from django.utils.crypto import get_random_string

from portal.egress import s3, s3_client
from portal.egress.file_parts import FileParts, measure_parts
from portal.egress.store_address import StoreAddress, parse_store_url
from portal.tests.helpers.waiting import wait_for

HTML = b"<!doctype html><title>It works</title>"
ENDLESS = object()
HANG = object()
TRICKLE = object()
DROP = object()
Fault = Callable[[str, str], Any]


@dataclass(frozen=True)
class Answer:
    """What the proxy answers itself. `error` makes it the XML of a store's error."""

    status: int
    body: bytes = b""
    error: str = ""
    location: str = ""

    @property
    def content(self) -> bytes:
        xml = f"<?xml version='1.0'?><Error><Code>{self.error}</Code><Message>no</Message></Error>"
        return xml.encode() if self.error else self.body


class Proxy(BaseHTTPRequestHandler):
    """Passes a call on to the store, unless the server's `fault` returns an Answer, ENDLESS, HANG, TRICKLE or DROP."""

    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def handle_any(self) -> None:
        fault = self.server.fault(self.command, self.path)
        self.server.calls.append((self.command, self.path))
        if fault is DROP:
            self.rfile.read(min(1, int(self.headers.get("Content-Length") or 0)))
            self.close_connection = True
            return
        if fault is HANG:
            self.server.is_over.wait()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is ENDLESS:
            self.send_endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"<" * 65536, pause=0)
        elif fault is TRICKLE:
            self.send_endlessly(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"y", pause=0.01)
        elif isinstance(fault, Answer):
            headers = {"Content-Length": str(len(fault.content)), "Location": fault.location}
            self.reply(fault.status, headers, fault.content)
        else:
            self.reply(*self.forward(body))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            skipped = {"transfer-encoding", "connection"}
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in skipped}
            content = answer.read()
            if self.command != "HEAD":  # whose length is that of the object
                headers["Content-Length"] = str(len(content))
            return answer.status, headers, content

    def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_endlessly(self, start: bytes, chunk: bytes, pause: float) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(start)
            while not self.server.is_over.wait(pause):
                self.wfile.write(chunk)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class FaultyServer(ThreadingHTTPServer):
    """`fault` is called with method and path of each call; `calls` are those that came."""

    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), Proxy)
        self.behind, self.is_over = behind, threading.Event()
        self.calls: list[tuple[str, str]] = []
        self.fault: Fault = lambda method, path: None

    def count(self, method: str, part: str = "") -> int:
        return sum(found == method and part in path for found, path in self.calls)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about callers that hang up."""


@dataclass
class Bucket:
    """A bucket of its own for each test, behind a server that can fail."""

    address: StoreAddress
    proxy: FaultyServer
    client: Any

    @cached_property
    def store(self) -> s3.Store:
        return s3.Store(self.address)

    @property
    def keys(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.address.bucket).get("Contents") or []
        return [row["Key"] for row in found]

    @property
    def versions(self) -> list[str]:
        """The keys of all versions, one for each."""
        found = self.client.list_object_versions(Bucket=self.address.bucket).get("Versions") or []
        return [row["Key"] for row in found]

    def content(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.address.bucket, Key=key)["Body"].read()
        return body

    def overwrite(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.address.bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.address.bucket, Key=key)


def start_moto() -> tuple[subprocess.Popen[bytes], int]:
    """Start the store's process on a free port."""
    with contextlib.closing(http.server.HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler).socket) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/moto-api/", timeout=5).ok
        return False

    wait_for("the store answers", answers)
    return process, port


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    process, port = start_moto()
    yield port
    process.kill()
    process.wait()


def make_bucket(port: int, *, has_lock: bool = False) -> Iterator[Bucket]:
    proxy = FaultyServer(port)
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    name = f"backups-{get_random_string(12).lower()}"
    address = parse_store_url(f"s3://KEY:SECRET@127.0.0.1:{proxy.server_port}/{name}/off/site?tls=off")
    direct = parse_store_url(f"s3://KEY:SECRET@127.0.0.1:{port}/{name}?tls=off")
    client = s3_client.make_client(direct)
    client.meta.events.unregister("before-send.s3", s3_client.send)  # which has limits
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=has_lock)
    try:
        yield Bucket(address, proxy, client)
    finally:
        proxy.is_over.set()
        proxy.shutdown()
        proxy.server_close()


@pytest.fixture
def bucket(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket. Calls are not repeated, since each repetition waits."""
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    yield from make_bucket(s3_port)


@pytest.fixture
def locked_bucket(s3_port: int) -> Iterator[Bucket]:
    """A bucket with versions and object lock."""
    yield from make_bucket(s3_port, has_lock=True)


@contextlib.contextmanager
def measured(content: bytes) -> Iterator[tuple[int, FileParts]]:
    """Yield the descriptor of a file with this content, and its parts."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.fileno(), measure_parts(file.fileno(), lambda: None)
