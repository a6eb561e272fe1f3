"""A client that was used before a fork works in the children, with separate connections."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client import UsageTelemetryClient, make_session
from vigie_client.http.deadlines import CallFailed, DeadlineRunner

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")


@pytest.fixture
def keeping_alive() -> Iterator[Any]:
    """A portal with persistent connections. `ports` has the client's port of each call."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps({"status": "recorded", "run_id": body["run_id"]}).encode()
            server.ports.append(self.client_address[1])
            self.send_response(201)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.ports = True, []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def succeeds_in_child(check: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        passed = False
        try:
            passed = check()
        finally:
            os._exit(0 if passed else 1)
    return os.waitpid(child, 0)[1] == 0


def test_forked_child_opens_its_own_connection(keeping_alive: Any, token: str, run: Any) -> None:
    client = UsageTelemetryClient(keeping_alive.url, make_session(token), timeout=PATIENCE)
    assert client.report(run("parent"))
    assert all(succeeds_in_child(lambda: client.report(run("child"))) for _ in range(2))
    assert client.report(run("parent again"))
    first, second, third, last = keeping_alive.ports
    assert len({first, second, third}) == 3
    assert last == first


def test_running_calls_of_the_parent_take_no_threads_of_the_child() -> None:
    runner, release = DeadlineRunner(max_threads=1), threading.Event()
    with pytest.raises(CallFailed, match="deadline"):
        runner.run(release.wait, 0.01)
    assert succeeds_in_child(lambda: runner.run(lambda: "done", 20) == "done")
    release.set()
