"""A fake portal on 127.0.0.1 that answers as the real one does."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Optional


class Answer:
    """A canned answer. `body` is sent as JSON, or as a problem from status 400 on, unless it is bytes."""

    def __init__(self, status: int, body: Any = None, headers: Optional[dict[str, str]] = None) -> None:
        self.status = status
        self.raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        content_type = "application/json" if status < 400 else "application/problem+json"
        self.headers = {"Content-Type": content_type, **(headers or {})}


class Upload(NamedTuple):
    """A file received by PUT. Only the beginning of a large body is kept."""

    name: str
    headers: dict[str, str]
    size: int
    sha256: str
    body: bytes


class FakePortal:
    """Answers calls as the portal does and keeps the requests. `answer_with` overrides a path."""

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
        """Answer calls of `path` with these answers, or the results of these callables, the last one repeatedly.

        None is the portal's usual answer.
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
                """Handle an upload. An override is an Answer, or a callable that takes over the connection."""
                portal.attempts.append(self.path)
                override = portal._override(self.path)
                if callable(override):
                    self.close_connection = True
                    override(self)
                    return
                upload = receive_upload(self)
                if upload is None:
                    return
                stored = {"status": "stored", "name": upload.name, "size": upload.size, "sha256": upload.sha256}
                answer = override or Answer(201, stored)
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
            override = self._override(path)
            canned: Optional[Answer] = override(body) if callable(override) else override
            if canned is not None:
                return canned
            if path.endswith("/events"):
                lists = {name: events for name, events in body.items() if name != "sent_at"}
                by_list = {name: [self._record_event(event) for event in events] for name, events in lists.items()}
                return Answer(200, {"results": by_list, "dropped_keys": 0})
            if path.endswith("/batch"):
                results = [
                    {"run_id": run["run_id"], "status": self._record_run(run), "code": None} for run in body["runs"]
                ]
                return Answer(200, {"results": results})
            status = self._record_run(body)
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

    def _record_run(self, run: Any) -> str:
        known = run["run_id"] in self.runs
        self.runs[run["run_id"]] = run
        return "duplicate" if known else "recorded"


def receive_upload(handler: BaseHTTPRequestHandler) -> Optional[Upload]:
    """Read the body to its end. Return None if the sender was killed meanwhile."""
    digest, left, beginning = hashlib.sha256(), int(handler.headers["Content-Length"]), b""
    while left:
        try:
            data = handler.rfile.read(min(left, 2**20))
        except ConnectionError:
            data = b""
        if not data:
            return None
        digest.update(data)
        left -= len(data)
        beginning = beginning or data
    size = int(handler.headers["Content-Length"])
    return Upload(handler.path.split("deposits/")[1], dict(handler.headers), size, digest.hexdigest(), beginning)


def reset_connection(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
