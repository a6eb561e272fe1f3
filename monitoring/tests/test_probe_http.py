"""One result, of the right kind and inside the deadline, whatever the other side does."""

from __future__ import annotations

import socket

import pytest

from monitoring.probe.http import probe_http as probe_once
from monitoring.probe.spec import Spec
from monitoring.tests.helpers.probing import HELD, ask, probe
from portal.tests.helpers import hostile_servers
from portal.tests.helpers.hostile_servers import Server, answer, drips, floods, redirects, says

SHORT = 0.3
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


# --- What held -------------------------------------------------------------------------------------------------------


def test_good_answer_has_a_status_and_a_latency():
    with Server(says(answer(b"hello"))) as server:
        outcome = probe(Spec(server.url + "/a?b=c"))
    assert (outcome.error_kind, outcome.status, outcome.is_ok) == ("", 200, True)
    assert 0 < outcome.latency_ms < 5_000
    [head] = server.requests
    assert head.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    sent = head.lower()
    assert b"user-agent: vigie\r\n" in sent
    assert b"accept: */*\r\n" in sent
    assert b"accept-encoding: identity\r\n" in sent
    assert f"host: 127.0.0.1:{server.port}\r\n".encode() in sent


def test_latency_includes_the_last_byte():
    def slowly(visit):
        visit.send(HEAD + b"Content-Length: 2\r\n\r\n1")
        visit.is_over.wait(0.2)
        visit.send(b"2")

    with Server(slowly) as server:
        assert probe(Spec(server.url)).latency_ms >= 200


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\n",
        HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\nok",
        HEAD + b"Content-Length: 2\r\n\r\nok and more than was promised",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;name=value\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"no header\r\nX: folded\r\n Content-Length: 99\r\n: y\r\n\r\n",
        HEAD + b"Content-Length: 2, 2\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nContent-Length: 2,2\r\n\r\nok",
        HEAD + b"X: " + b"x" * 60_000 + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(),
    ],
)
def test_every_form_of_body_is_read(raw):
    assert ask(says(raw)) == HELD


def test_answer_without_a_body_is_not_waited_for():
    def keep_open(visit):
        visit.send(HEAD + b"Content-Length: 100\r\n\r\n")
        hostile_servers.hang(visit)

    assert ask(keep_open, method="HEAD", timeout=SHORT) == HELD
    assert ask(keep_open, timeout=SHORT) == ("timeout", "body")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_request_uses_the_method_of_the_spec(method):
    with Server(says(answer())) as server:
        assert probe(Spec(server.url, method=method)).is_ok
    assert server.methods == [method]
    assert (b"Content-Length: 0" in server.requests[0]) is (method == "POST")


def test_non_ascii_path_is_sent_quoted():
    with Server(says(answer())) as server:
        assert probe(Spec(server.url + "/é%20/?q=ü")).is_ok
    assert server.requests[0].startswith(b"GET /%C3%A9%20/?q=%C3%BC HTTP/1.1")


def test_proxy_of_the_environment_is_ignored(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(says(answer())) == HELD


def test_invalid_spec_raises_value_error():
    for spec in (Spec("ftp://x"), Spec("http://x", expected_statuses="2xx"), Spec("http://x", method="BREW")):
        with pytest.raises(ValueError):
            probe_once(spec)


# --- Connections that fail -------------------------------------------------------------------------------------------


def test_refused_connection_fails_with_its_code():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = probe(Spec(f"http://127.0.0.1:{port}"))
    assert (outcome.error_kind, outcome.detail, outcome.status) == ("connect", "ECONNREFUSED", None)


def test_unanswered_connection_times_out():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):  # fills the queue
            outcome = probe(Spec(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=SHORT))
    assert outcome.error_kind == "timeout"


@pytest.mark.parametrize(
    ("behave", "detail"),
    [
        (hostile_servers.reset, "ECONNRESET"),
        (says(b""), "closed"),
        (says(b"HTT"), "incomplete"),
        (says(b"HTTP/1.1 200"), "incomplete"),
        (says(HEAD + b"Content-Type: text/ht"), "incomplete"),
        (says(HEAD + b"Content-Type: text/html\r\n"), "closed"),
        (says(HEAD + b"Content-Length: 100\r\n\r\nshort"), "incomplete"),
        (says(HEAD + b"content-length : 100\r\n\r\nshort"), "incomplete"),
        (says(HEAD + b"Transfer-Encoding: gzip, Chunked\r\n\r\n5\r\nhel"), "incomplete"),
        (says(CHUNKED + b"5\r\nhel"), "incomplete"),
        (says(CHUNKED + b"5\r\nhello\r\n"), "incomplete"),
        (says(CHUNKED + b"5\r\nhello\r\n0\r\n"), "incomplete"),
        (says(CHUNKED), "incomplete"),
    ],
)
def test_truncated_answer_is_a_connection_error(behave, detail):
    assert ask(behave) == ("connect", detail)


def test_reset_within_the_body_is_a_connection_error():
    def break_off(visit):
        visit.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        hostile_servers.reset(visit)

    kind, _detail = ask(break_off)
    assert kind == "connect"


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"garbage", "status_line"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "status_line"),
        (b"<html>no headers</html>", "status_line"),
        (bytes(range(128, 256)) * 10, "status_line"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "status_line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "status_line"),
        (b"HTTP/3.0 200 OK\r\n\r\n", "version"),
        (b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n", "line_too_long"),
        (HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n", "line_too_long"),
        (HEAD + b"X: y\r\n" * 12_000 + b"\r\n", "head_too_long"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000, "too_many_interim"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, "too_many_interim"),
        (HEAD + b"Content-Length: many\r\n\r\n", "content_length"),
        (HEAD + b"Content-Length: -5\r\n\r\n", "content_length"),
        (HEAD + b"Content-Length: 2, 3\r\n\r\nok!", "content_length"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "content_length"),
        (HEAD + b"Content-Length: ,\r\n\r\n", "content_length"),
        (HEAD + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n", "content_length"),
        (CHUNKED + b"zz\r\nhello\r\n", "chunk"),
        (CHUNKED + b"-5\r\nhello\r\n", "chunk"),
        (CHUNKED + b"0x5\r\nhello\r\n", "chunk"),
        (CHUNKED + b"\r\nhello\r\n", "chunk"),
        (CHUNKED + b"f" * 17 + b"\r\n", "chunk"),
        (CHUNKED + b"f" * 70_000, "line_too_long"),
    ],
)
def test_invalid_http_is_a_protocol_error(raw, detail):
    def behave(visit):
        visit.send(raw)
        visit.connection.shutdown(socket.SHUT_WR)
        hostile_servers.hang(visit)  # a close with something unread would be a reset

    assert ask(behave) == ("protocol", detail)


def test_hostile_content_type_is_parsed_quickly():
    def raw(length):
        return HEAD + b'Content-Type: multipart/x; a="' + b";" * length + b"\r\nContent-Length: 1\r\n\r\nx"

    assert ask(says(raw(60_000)), contains="x", timeout=SHORT) == HELD


# --- Deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "detail"),
    [
        (hostile_servers.hang, "headers"),
        (drips(HEAD[:-2], b"H"), "headers"),
        (drips(HEAD, b"X"), "headers"),
        (drips(HEAD, b"X: y\r\n"), "headers"),
        (drips(HEAD + b"\r\n", b"x"), "body"),
        (drips(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"), "body"),
        (drips(CHUNKED, b"1\r\nx\r\n"), "body"),
        (drips(CHUNKED + b"0\r\n", b"X: y\r\n"), "body"),
        (floods(CHUNKED + b"0\r\n", b"X: y\r\n" * 1_000), "body"),
        (floods(CHUNKED, b"1\r\nx\r\n" * 1_000), "body"),
    ],
)
def test_endless_answer_ends_at_the_deadline(behave, detail):
    assert ask(behave, timeout=SHORT) == ("timeout", detail)


@pytest.mark.parametrize(
    ("headers", "expected", "found"),
    [
        (b"Content-Type: audio/mpeg\r\n", {}, HELD),
        (b"Content-Type: Text/Event-Stream; charset=utf-8\r\n", {}, HELD),
        (b"Content-Type: multipart/x-mixed-replace; boundary=x\r\n", {}, HELD),
        (b"Content-Type: audio/mpeg\r\n", {"header_name": "icy-name"}, ("assertion", "header_name")),
        (b"Content-Type: audio/mpeg\r\nContent-Length: 100000\r\n", {}, ("timeout", "body")),
        (b"Content-Type: text/event-stream\r\n", {"contains": "ready"}, ("timeout", "body")),
        (b"Content-Type: text/html\r\n", {}, ("timeout", "body")),
    ],
)
def test_stream_without_length_and_body_expectation_is_up_at_its_head(headers, expected, found):
    assert ask(drips(HEAD + headers + b"\r\n", b"x"), timeout=SHORT, **expected) == found


def test_chunked_event_stream_is_up_at_its_head():
    start = CHUNKED.removesuffix(b"\r\n") + b"Content-Type: text/event-stream\r\n\r\n"
    assert ask(drips(start, b"8\r\n: ping\n\n\r\n"), timeout=SHORT) == HELD


def test_deadline_covers_all_redirects_together():
    def slowly(visit):
        visit.is_over.wait(0.2)
        redirects("/again")(visit)

    assert ask(slowly, timeout=SHORT) == ("timeout", "headers")


def test_endless_handshake_ends_at_the_deadline():
    with Server(hostile_servers.hang, reads=False) as server:
        outcome = probe(Spec(f"https://127.0.0.1:{server.port}", timeout=SHORT))
    assert (outcome.error_kind, outcome.detail) == ("timeout", "tls")


@pytest.mark.parametrize("start", [HEAD + b"\r\n", HEAD + b"Content-Length: 50000000\r\n\r\n"])
def test_body_above_the_limit_succeeds(start):
    assert ask(floods(start, b"x" * 65536)) == HELD


def test_content_beyond_the_body_limit_does_not_count():
    long = b"first" + b"x" * 2_000_000 + b"last"
    assert ask(says(answer(long)), contains="first") == HELD
    assert ask(says(answer(long)), contains="last") == ("assertion", "contains")
    assert ask(floods(HEAD + b"\r\n", b"x" * 65536), contains="y") == ("assertion", "contains")
