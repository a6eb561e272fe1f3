"""One result, of the right kind and inside the deadline, whatever the other side does."""

from __future__ import annotations

import socket
import time

import pytest

from monitoring.probe.http import MOST_REDIRECTS, Outcome
from monitoring.probe.http import probe as probe_once
from monitoring.probe.spec import Spec
from monitoring.tests import hostile
from monitoring.tests.hostile import Server, answer, drips, floods, redirects, routes, says

SHORT = 0.3
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def probe(spec: Spec, **options) -> Outcome:
    """The contract of every check: it ends within a second of its timeout, and only what held has a latency."""
    started = time.monotonic()
    outcome = probe_once(spec, **options)
    assert time.monotonic() - started < spec.timeout + 1
    assert (outcome.latency_ms is None) is bool(outcome.error_kind)
    assert len(outcome.detail) <= 200
    return outcome


def ask(behave, /, *, reads=True, **spec) -> tuple[str, str]:
    """What comes of a server that behaves so."""
    with Server(behave, reads=reads) as server:
        outcome = probe(Spec(server.url, **{"timeout": 5.0} | spec))
    return outcome.error_kind, outcome.detail


HELD = ("", "")


# --- What held -------------------------------------------------------------------------------------------------------


def test_a_good_answer_has_a_status_and_a_latency():
    with Server(says(answer(b"hello"))) as server:
        outcome = probe(Spec(server.url + "/a?b=c"))
    assert (outcome.error_kind, outcome.status, outcome.is_ok) == ("", 200, True)
    assert 0 < outcome.latency_ms < 5_000
    [head] = server.requests
    assert head.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    sent = head.lower()
    assert b"user-agent: vigie\r\n" in sent
    assert b"accept-encoding: identity\r\n" in sent
    assert f"host: 127.0.0.1:{server.port}\r\n".encode() in sent


def test_the_latency_runs_to_the_last_byte():
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
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(),
    ],
)
def test_every_form_of_an_answer_is_read(raw):
    assert ask(says(raw)) == HELD


def test_nothing_is_waited_for_where_an_answer_has_no_body():
    def keep_open(visit):
        visit.send(HEAD + b"Content-Length: 100\r\n\r\n")
        hostile.hang(visit)

    assert ask(keep_open, method="HEAD", timeout=SHORT) == HELD
    assert ask(keep_open, timeout=SHORT) == ("timeout", "body")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_the_method_is_the_one_asked_for(method):
    with Server(says(answer())) as server:
        assert probe(Spec(server.url, method=method)).is_ok
    assert server.methods == [method]
    assert (b"Content-Length: 0" in server.requests[0]) is (method == "POST")


def test_a_path_that_is_not_ascii_is_sent_quoted():
    with Server(says(answer())) as server:
        assert probe(Spec(server.url + "/é%20/?q=ü")).is_ok
    assert server.requests[0].startswith(b"GET /%C3%A9%20/?q=%C3%BC HTTP/1.1")


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(says(answer())) == HELD


def test_a_spec_that_is_none_is_the_callers_error():
    for spec in (Spec("ftp://x"), Spec("http://x", expected_statuses="2xx"), Spec("http://x", method="BREW")):
        with pytest.raises(ValueError):
            probe_once(spec)


# --- Connections that fail -------------------------------------------------------------------------------------------


def test_a_refused_connection_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = probe(Spec(f"http://127.0.0.1:{port}"))
    assert (outcome.error_kind, outcome.detail, outcome.status) == ("connect", "ECONNREFUSED", None)


def test_a_connection_that_nobody_takes_times_out():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):  # fills the queue
            outcome = probe(Spec(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=SHORT))
    assert outcome.error_kind == "timeout"


@pytest.mark.parametrize(
    ("behave", "detail"),
    [
        (hostile.reset, "ECONNRESET"),
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
def test_an_answer_that_ends_early_is_a_connection_that_failed(behave, detail):
    assert ask(behave) == ("connect", detail)


def test_a_reset_amid_the_body_is_a_connection_that_failed():
    def break_off(visit):
        visit.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        hostile.reset(visit)

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
        (b"HTTP/1.1 200 " + b"x" * 20_000 + b"\r\n\r\n", "line_too_long"),
        (HEAD + b"X: " + b"x" * 20_000 + b"\r\n\r\n", "line_too_long"),
        (HEAD + b"X: y\r\n" * 10_000 + b"\r\n", "too_many_headers"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000, "too_many_interim"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, "too_many_interim"),
        (HEAD + b"Content-Length: many\r\n\r\n", "content_length"),
        (HEAD + b"Content-Length: -5\r\n\r\n", "content_length"),
        (HEAD + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n", "content_length"),
        (CHUNKED + b"zz\r\nhello\r\n", "chunk"),
        (CHUNKED + b"-5\r\nhello\r\n", "chunk"),
        (CHUNKED + b"0x5\r\nhello\r\n", "chunk"),
        (CHUNKED + b"\r\nhello\r\n", "chunk"),
        (CHUNKED + b"f" * 17 + b"\r\n", "chunk"),
        (CHUNKED + b"f" * 20_000, "line_too_long"),
    ],
)
def test_what_is_not_http_is_told(raw, detail):
    def behave(visit):
        visit.send(raw)
        visit.connection.shutdown(socket.SHUT_WR)
        hostile.hang(visit)  # a close with something unread would be a reset

    assert ask(behave) == ("protocol", detail)


def test_a_content_type_made_to_be_hard_to_parse_takes_no_long_time():
    def raw(length):
        return HEAD + b'Content-Type: multipart/x; a="' + b";" * length + b"\r\nContent-Length: 1\r\n\r\nx"

    assert ask(says(raw(16_000)), contains="x", timeout=SHORT) == HELD
    assert ask(says(raw(60_000)), contains="x", timeout=SHORT) == ("protocol", "line_too_long")


# --- Deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "detail"),
    [
        (hostile.hang, "headers"),
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
def test_an_answer_that_never_ends_ends_at_the_deadline(behave, detail):
    assert ask(behave, timeout=SHORT) == ("timeout", detail)


def test_the_deadline_is_that_of_all_redirects_together():
    def slowly(visit):
        visit.is_over.wait(0.2)
        redirects("/again")(visit)

    assert ask(slowly, timeout=SHORT) == ("timeout", "headers")


def test_a_handshake_that_never_ends_ends_at_the_deadline():
    with Server(hostile.hang, reads=False) as server:
        outcome = probe(Spec(f"https://127.0.0.1:{server.port}", timeout=SHORT))
    assert (outcome.error_kind, outcome.detail) == ("timeout", "tls")


@pytest.mark.parametrize("start", [HEAD + b"\r\n", HEAD + b"Content-Length: 50000000\r\n\r\n"])
def test_a_body_longer_than_we_read_is_no_failure(start):
    assert ask(floods(start, b"x" * 65536)) == HELD


def test_what_lies_beyond_what_we_read_does_not_count():
    long = b"first" + b"x" * 2_000_000 + b"last"
    assert ask(says(answer(long)), contains="first") == HELD
    assert ask(says(answer(long)), contains="last") == ("assertion", "contains")
    assert ask(floods(HEAD + b"\r\n", b"x" * 65536), contains="y") == ("assertion", "contains")


# --- Statuses and redirects ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected", "held"),
    [
        ("200 OK", "200-399", True),
        ("404 Not Found", "200-399", False),
        ("404 Not Found", "200-299,404", True),
        ("503 Service Unavailable", "200-399", False),
        ("429 Too Many Requests", "200-399", False),
        ("200 OK", "500", False),
        ("399 Odd", "200-399", True),
        ("400 Bad", "200-399", False),
        ("999 Odd", "100-599", False),
    ],
)
def test_only_expected_statuses_hold(status, expected, held):
    with Server(says(answer(b"", status))) as server:
        outcome = probe(Spec(server.url, expected_statuses=expected))
    assert (outcome.error_kind, outcome.detail) == (HELD if held else ("status", status[:3]))
    assert outcome.status == int(status[:3])


def test_redirects_are_followed():
    behave = routes(root=redirects("/b?c=d#e"), b=says(answer(b"there")))
    with Server(behave) as server:
        assert probe(Spec(server.url, contains="there")).is_ok
    assert server.requests[1].startswith(b"GET /b?c=d HTTP")


def test_only_so_many_redirects_are_followed():
    with Server(redirects("/again")) as server:
        outcome = probe(Spec(server.url))
    assert (outcome.error_kind, outcome.detail, outcome.status) == ("redirect", "too_many", 302)
    assert len(server.requests) == MOST_REDIRECTS + 1


def test_as_many_redirects_as_are_allowed_hold():
    def count_down(visit):
        left = int(visit.path.strip("/"))
        (redirects(f"/{left - 1}") if left else says(answer()))(visit)

    with Server(count_down) as server:
        assert probe(Spec(f"{server.url}/{MOST_REDIRECTS}")).is_ok
        assert not probe(Spec(f"{server.url}/{MOST_REDIRECTS + 1}")).is_ok


def test_a_redirect_is_judged_as_it_is_where_none_is_followed():
    assert ask(redirects("/again"), follow_redirects=False) == HELD
    assert ask(redirects("/again"), follow_redirects=False, expected_statuses="200") == ("status", "302")


@pytest.mark.parametrize("headers", [(), ("Location: ",)])
def test_a_redirect_to_nowhere_is_judged_as_it_is(headers):
    assert ask(says(answer(b"", "302 Found", *headers))) == HELD


@pytest.mark.parametrize(
    ("location", "kind", "detail"),
    [
        ("file:///etc/passwd", "redirect", "scheme"),
        ("gopher://127.0.0.1:6379/_INFO", "redirect", "scheme"),
        ("javascript:alert(1)", "redirect", "scheme"),
        ("http://me:secret@127.0.0.1/", "redirect", "credentials"),
        ("http://[::1/", "redirect", "location"),
        ("http://127.0.0.1:99999/", "redirect", "location"),
        ("http://-/", "redirect", "location"),
        ("http://169.254.169.254/latest/meta-data", "blocked", "169.254.169.254"),
        ("http://[::ffff:169.254.169.254]/", "blocked", "::ffff:169.254.169.254"),
        ("http://[fd00:ec2::254]/", "blocked", "fd00:ec2::254"),
        ("http://0.0.0.0/", "blocked", "0.0.0.0"),
        ("//169.254.169.254/x", "blocked", "169.254.169.254"),
        ("http://2852039166/", "blocked", "169.254.169.254"),
    ],
)
def test_redirects_to_where_nobody_may_go_are_not_followed(location, kind, detail):
    assert ask(redirects(location)) == (kind, detail)


def test_private_addresses_are_not_connected_to_where_they_are_not_allowed():
    with Server(says(answer())) as server:
        outcome = probe(Spec(server.url), allow_private=False)
    assert (outcome.error_kind, outcome.detail) == ("blocked", "127.0.0.1")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        ("301 Moved", "POST", "GET"),
        ("302 Found", "POST", "GET"),
        ("303 See Other", "POST", "GET"),
        ("303 See Other", "OPTIONS", "GET"),
        ("303 See Other", "HEAD", "HEAD"),
        ("301 Moved", "HEAD", "HEAD"),
        ("302 Found", "OPTIONS", "OPTIONS"),
        ("307 Temporary", "POST", "POST"),
        ("308 Permanent", "POST", "POST"),
    ],
)
def test_a_redirect_changes_the_method_as_browsers_do(status, method, then):
    with Server(routes(root=redirects("/b", status), b=says(answer()))) as server:
        assert probe(Spec(server.url, method=method)).is_ok
    assert server.methods == [method, then]


def test_a_location_of_other_letters_is_followed():
    behave = routes(root=redirects("/é b".encode().decode("latin-1")), **{"%C3%A9%20b": says(answer())})
    assert ask(behave) == HELD


# --- What an answer must hold ----------------------------------------------------------------------------------------

JSON = b'{"status": "ok", "up": true, "n": 1.50, "none": null, "checks": [{"name": "db", "up": 1}], "deep": {"a": [1]}}'


@pytest.mark.parametrize(
    ("expected", "broken"),
    [
        ({"contains": '"ok"'}, ""),
        ({"contains": "OK"}, "contains"),
        ({"header_name": "x-version"}, ""),
        ({"header_name": "X-Other"}, "header_name"),
        ({"header_name": "X-Version", "header_value": "2.1"}, ""),
        ({"header_name": "X-Version", "header_value": "second"}, ""),
        ({"header_name": "X-Version", "header_value": "3"}, "header_value"),
        ({"json_path": "$.status"}, ""),
        ({"json_path": "$.none"}, ""),
        ({"json_path": "$.absent"}, "json_path"),
        ({"json_path": "$.status", "json_value": "ok"}, ""),
        ({"json_path": "$.status", "json_value": "down"}, "json_value"),
        ({"json_path": "$.up", "json_value": "true"}, ""),
        ({"json_path": "$.up", "json_value": "True"}, "json_value"),
        ({"json_path": "$.up", "json_value": "1"}, "json_value"),
        ({"json_path": "$.checks[0].up", "json_value": "1"}, ""),
        ({"json_path": "$.checks[0].up", "json_value": "true"}, "json_value"),
        ({"json_path": "$.none", "json_value": "null"}, ""),
        ({"json_path": "$.n", "json_value": "1.5"}, ""),
        ({"json_path": "$.n", "json_value": "1.50"}, ""),
        ({"json_path": "$.n", "json_value": "2"}, "json_value"),
        ({"json_path": "$.deep", "json_value": '{"a":[1]}'}, ""),
        ({"json_path": "$..name", "json_value": "db"}, ""),
        ({"json_path": "$.checks[?@.name == 'db'].up", "json_value": "1"}, ""),
        ({"json_path": "$.checks[?@.name == 'cache'].up", "json_value": "1"}, "json_path"),
        ({"json_path": "status", "json_value": "ok"}, ""),
        ({"json_path": "checks[0].up", "json_value": "1"}, ""),
        ({"json_path": "['status']", "json_value": "ok"}, ""),
    ],
)
def test_what_is_expected_must_hold(expected, broken):
    raw = answer(JSON, "200 OK", "X-Version: 2.1 beta", "X-Version: second")
    assert ask(says(raw), **expected) == (("assertion", broken) if broken else HELD)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("déjà".encode(), "text/html"),
        ("déjà".encode(), "text/html; charset=utf-8"),
        ("déjà".encode("latin-1"), 'text/html; charset="ISO-8859-1"'),
        ("déjà".encode(), "text/html; charset=punycode"),
        ("déjà".encode(), "text/html; charset=no-such-thing"),
        (b"\xff\xfe d\xc3\xa9j\xc3\xa0", "text/html"),
    ],
)
def test_a_text_is_looked_for_in_the_answers_charset(body, content_type):
    assert ask(says(answer(body, "200 OK", f"Content-Type: {content_type}")), contains="déjà") == HELD


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        (b"", "json"),
        (b"<html>", "json"),
        (b'{"a": ', "json"),
        (b'{"a": NaN}', "json"),
        (b'{"a": -Infinity}', "json"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "json"),
        (b'{"a": "\xff\xff"}', "json"),
        (b'{"a": ' * 10_000, "json"),
        (b"[" * 40_000 + b"]" * 40_000, "json"),
        (b"[" * 300 + b"]" * 300, "json_path"),
        (b'"{\\"a\\": 1}"', "json_path"),
        (b'{"a": 1e999}', "json_value"),
        (b'{"a": {"a": {"a": 2}}}', "json_value"),
        (b"[" + b"[]," * 100_000 + b"[]]", "json_size"),
        (b"[" + b" " * 2_000_000 + b"]", "json_size"),
    ],
)
def test_json_made_to_break_its_reader_is_an_expectation_that_does_not_hold(body, broken):
    assert ask(says(answer(body)), json_path="$..a", json_value="1", timeout=2.0) == ("assertion", broken)


def test_a_path_that_multiplies_at_every_level_comes_to_an_end():
    body = b"[" * 40 + b"]" * 40
    assert ask(says(answer(body)), json_path="$" + "[*,*]" * 30, timeout=2.0) == ("assertion", "json_path")


def test_long_keys_do_not_fill_the_memory():
    body = b'{"' + b"k" * 500_000 + b'":[' + b"[]," * 20_000 + b"[]]}"
    assert ask(says(answer(body)), json_path="$.*.*.*", timeout=2.0) == ("assertion", "json_path")


def test_what_an_answer_holds_and_what_was_asked_never_gets_into_a_detail():
    secret = b"s3cret"
    raws = [
        secret,
        HEAD + secret,
        b"HTTP/1.1 500 " + secret + b"\r\n\r\n",
        answer(secret),
        CHUNKED + secret,
        answer(b"", "302 Found", "Location: file:///s3cret"),
        HEAD + b"Content-Length: s3cret\r\n\r\n",
    ]
    for raw in raws:
        with Server(says(raw)) as server:
            outcome = probe(Spec(f"{server.url}/?token=s3cret", contains="other"))
        assert outcome.error_kind
        assert "s3cret" not in outcome.detail
