"""`make audit`, against a local advisory index."""

import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.audit import PINNED, audit

KNOWN = {"id": "GHSA-0000", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z", "summary": "Bad"}
AFFECTED = {"package": {"name": "django", "ecosystem": "PyPI"}, "ranges": [], "versions": ["1.0"]}


class Index(BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = question["package"]["name"]
        self.asked.append(name)
        answer = {"vulns": [KNOWN | {"affected": [AFFECTED]}]} if name == "django" else {}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Log nothing."""


@pytest.fixture
def index(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    Thread(target=server.serve_forever, daemon=True).start()
    Index.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


@pytest.fixture
def pinned(tmp_path):
    def write(text):
        path = tmp_path / "requirements.txt"
        path.write_text(f"{text} --hash=sha256:{'0' * 64}\n")
        return [path]

    return write


def test_package_without_advisories_passes(index, pinned, capfd):
    assert audit(index, pinned("requests==2.32.0")) == 0
    assert Index.asked == ["pip", "requests"]


def test_package_with_an_advisory_fails_and_is_named(index, pinned, capfd):
    assert audit(index, pinned("django==1.0")) == 1
    assert "GHSA-0000" in capfd.readouterr().out


def test_unreachable_index_is_reported_without_failing(capsys):
    with socket.socket() as bound:  # bound without listening: whoever connects is refused
        bound.bind(("127.0.0.1", 0))
        assert audit(f"http://127.0.0.1:{bound.getsockname()[1]}/v1/query", PINNED) == 0
    assert capsys.readouterr().out.startswith("NOT CHECKED")
