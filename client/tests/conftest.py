"""A fake portal on 127.0.0.1, runs to report, databases to deposit, and other programs."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional

import pytest

SOURCE = str(Path(__file__).resolve().parents[1] / "src")
sys.path.insert(0, SOURCE)  # the tests judge this tree, not an installed copy

TOKEN = "vigie_agent_AAAAAAAAAAAA_" + "s" * 43 + "_000000"


class Answer:
    """A canned answer. `body` is sent as JSON, or as a problem above 399, unless it is bytes."""

    def __init__(self, status: int, body: Any = None, headers: Optional[dict[str, str]] = None) -> None:
        self.status = status
        self.raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        content_type = "application/json" if status < 400 else "application/problem+json"
        self.headers = {"Content-Type": content_type, **(headers or {})}


class Upload(NamedTuple):
    """What arrived by PUT. Of a large body only the beginning is kept."""

    name: str
    headers: dict[str, str]
    size: int
    sha256: str
    body: bytes


class FakePortal:
    """Answers the calls as the portal does, remembering what it was sent; `answer_with` overrides a path."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.runs: dict[str, Any] = {}
        self.events: dict[str, Any] = {}
        self.uploads: list[Upload] = []
        self.attempts: list[str] = []
        self.over = threading.Event()
        self._overrides: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def answer_with(self, path: str, *answers: Any) -> None:
        """Give these answers (or what these callables make of the body) at `path`; the last one for ever.

        None is what the portal answers by itself.
        """
        self._overrides[path] = list(answers)

    def sent_to(self, path: str) -> list[Any]:
        return [body for where, _, body in self.requests if where == path]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = portal._answer(self.path, dict(self.headers), body)
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.raw)

            def do_PUT(self) -> None:
                """An override here is an Answer, or a callable that has its own way with the connection."""
                portal.attempts.append(self.path)
                given = portal._override(self.path)
                if callable(given):
                    self.close_connection = True
                    given(self)
                    return
                upload = received(self)
                if upload is None:
                    return
                stored = {"status": "stored", "name": upload.name, "size": upload.size, "sha256": upload.sha256}
                answer = given or Answer(201, stored)
                if answer.status == 201:
                    portal.uploads.append(upload)
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.raw)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _answer(self, path: str, headers: dict[str, str], body: Any) -> Answer:
        with self._lock:
            self.requests.append((path, headers, body))
            given = self._override(path)
            canned: Optional[Answer] = given(body) if callable(given) else given
            if canned is not None:
                return canned
            if path.endswith("/events"):
                lists = {name: events for name, events in body.items() if name != "sent_at"}
                told = {name: [self._record_event(event) for event in events] for name, events in lists.items()}
                return Answer(200, {"results": told, "dropped_keys": 0})
            if path.endswith("/batch"):
                results = [{"run_id": run["run_id"], "status": self._record(run), "code": None} for run in body["runs"]]
                return Answer(200, {"results": results})
            status = self._record(body)
            return Answer(201 if status == "recorded" else 200, {"status": status, "run_id": body["run_id"]})

    def _override(self, path: str) -> Any:
        overrides = self._overrides.get(path)
        if not overrides:
            return None
        return overrides.pop(0) if len(overrides) > 1 else overrides[0]

    def _record_event(self, event: Any) -> dict[str, Any]:
        known = self.events.get(event["id"])
        self.events[event["id"]] = event
        return {"id": event["id"], "status": "duplicate" if known == event else "recorded", "code": None}

    def _record(self, run: Any) -> str:
        known = run["run_id"] in self.runs
        self.runs[run["run_id"]] = run
        return "duplicate" if known else "recorded"


def received(handler: BaseHTTPRequestHandler) -> Optional[Upload]:
    """The body, read to its end; None when the sender was killed over it."""
    digest, left, begun = hashlib.sha256(), int(handler.headers["Content-Length"]), b""
    while left:
        try:
            data = handler.rfile.read(min(left, 2**20))
        except ConnectionError:
            data = b""
        if not data:
            return None
        digest.update(data)
        left -= len(data)
        begun = begun or data
    size = int(handler.headers["Content-Length"])
    return Upload(handler.path.split("deposits/")[1], dict(handler.headers), size, digest.hexdigest(), begun)


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    fake = FakePortal()
    yield fake
    fake.close()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def token() -> str:
    return TOKEN


@pytest.fixture
def client(portal: FakePortal, token: str) -> Any:
    from vigie_client import UsageTelemetryClient, make_session  # noqa: PLC0415 - once the path is set

    return UsageTelemetryClient(portal.url, make_session(token), timeout=20)


@pytest.fixture
def run() -> Callable[..., dict[str, Any]]:
    """Makes a run: `run("a")` has the run id `a`."""

    def make(run_id: str, **more: Any) -> dict[str, Any]:
        return {"run_id": run_id, "app_name": "gui", "app_version": "1.0", "documents": [], **more}

    return make


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.jsonl"


@pytest.fixture
def fill(spool: Path, run: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Spools one run per id."""
    from vigie_client import spool_payload  # noqa: PLC0415 - once the path is set

    def put(*run_ids: str) -> None:
        for run_id in run_ids:
            assert spool_payload(spool, run(run_id))

    return put


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another Python program that can import vigie_client, with arguments; killed at the end if need be."""
    programs: list[subprocess.Popen[str]] = []

    def begin(source: str, *arguments: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", source, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": SOURCE}
        programs.append(
            subprocess.Popen(
                command, env=environment, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        return programs[-1]

    yield begin
    for program in programs:
        program.kill()
        program.communicate()


@pytest.fixture
def broken(portal: FakePortal) -> dict[str, Callable[[Any], Any]]:
    """What a connection may do instead of answering: `reset`, or `hang` until the test is over."""
    return {"reset": reset, "hang": lambda _: portal.over.wait()}


class Deposits:
    """A deposit folder, a state directory, and what came of depositing from one into the other."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "deposits"
        self.state = path / "state"
        self.folder.mkdir(parents=True)

    def deposit(self, *dumps: Any, **more: Any) -> Any:
        """Deposit in the folder as the agent `agent-1`."""
        from vigie_client import DepositFolder, deposit  # noqa: PLC0415 - once the path is set

        given = {"agent_id": "agent-1", "state_dir": self.state, **more}
        return deposit(dumps, given.pop("place", None) or DepositFolder(self.folder), **given)

    def reports(self, agent: str = "agent-1") -> list[dict[str, Any]]:
        """The reports in the folder, oldest first."""
        texts = [path.read_text("utf-8") for path in (self.folder / agent / "log").glob("*.json")]
        return sorted((json.loads(text) for text in texts), key=lambda report: str(report["timestamp"]))

    def staged(self, name: str, agent: str = "agent-1") -> Path:
        return self.folder / agent / "database" / name

    def leftovers(self) -> list[str]:
        """Temporary files, and the records of calls that aren't over."""
        return [path.name for path in self.folder.parent.rglob("*") if path.suffix in (".part", ".record", ".tmp")]


@pytest.fixture
def deposits(tmp_path: Path) -> Deposits:
    return Deposits(tmp_path)
