"""Malformed request bodies, through both views that read bodies (DRF and hot path)."""

import gzip
import io
import json
import zlib

import pytest
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from agents.models import Agent
from portal.api import bodies
from portal.api.bodies import MAX_DEPTH, MAX_INFLATED, MAX_SENT, MAX_VALUES, gunzip
from portal.base.problems import Problem
from usage.api.runs import BatchView, ReportView

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("bodies are read and refused in Python")]
GZIP = {"Content-Encoding": "gzip"}
BODY = json.dumps({"machine_id": "PC-9"}).encode()


@pytest.fixture(params=["agents/enroll", "usage/report"])
def send(request, call, enroll_token, client_token):
    """Return a function that sends raw bytes and returns the error code, or `read` if the body was accepted as JSON."""

    def sending(body, content_type="application/json", **headers):
        token = enroll_token if request.param == "agents/enroll" else client_token
        answer = call("POST", request.param, token, body=body, headers={"Content-Type": content_type} | headers)
        code = answer.json().get("code")
        return "read" if answer.status_code == 201 or code == "validation_failed" else code

    return sending


def nested(depth, opening=b"[", closing=b"]"):
    """Return `{"x": [[...]]}` with `depth` levels in all."""
    return b'{"x":' + opening * (depth - 1) + closing * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "body",
    [b"{", b"nonsense", b'{"a": 1} trailing', b"\xff\xfe", b'{"a": "\xe9"}', b"[]", b'"text"', b"7", b"null", b"true",
     b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a": 1e999}', b'{"a": 1, "a": 2}', b'{"b": [{"a": 1, "a": 1}]}',
     b'{"a": ' + b"9" * 641 + b"}", BODY.decode().encode("utf-16")],
)  # fmt: skip
def test_body_that_is_not_a_json_object_is_refused(send, body):
    assert send(body) == "malformed_json"


@pytest.mark.parametrize("body", [b"", b"  ", BODY, b"\xef\xbb\xbf" + BODY, b"\n" + BODY + b"\n"])
def test_body_with_a_bom_with_white_space_or_empty_is_read(send, body):
    assert send(body) == "read"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=UTF-8", ""]
)
def test_media_type_is_ignored(send, content_type):
    assert send(BODY, content_type) == "read"


def test_depth_beyond_thirty_two_is_refused(send):
    assert send(nested(MAX_DEPTH)) == "read"
    assert send(nested(MAX_DEPTH + 1)) == "body_too_deep"
    assert send(nested(MAX_DEPTH + 1, b'{"x":', b"}").replace(b":}", b":1}")) == "body_too_deep"


@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_hundred_thousand_brackets_are_refused(send, depth):
    assert send(nested(depth)) == "body_too_deep"


def test_body_beyond_a_mebibyte_is_refused(send):
    padding = MAX_SENT - len(b'{"x": ""}')
    assert send(b'{"x": "' + b"a" * padding + b'"}') == "read"
    assert send(b'{"x": "' + b"a" * (padding + 1) + b'"}') == "body_too_large"


def test_gzip_body_inflates_up_to_eight_mebibytes(send):
    assert send(gzip.compress(BODY), **GZIP) == "read"
    padding = MAX_INFLATED - len(b'{"x": ""}')
    assert send(gzip.compress(b'{"x": "' + b"a" * padding + b'"}'), **GZIP) == "read"
    assert send(gzip.compress(b'{"x": "' + b"a" * (padding + 1) + b'"}'), **GZIP) == "body_too_large"


@pytest.mark.parametrize("value", [b"[]", b"{}", b'""', b"1", b'"","x"'])
def test_values_are_counted_before_they_are_read(send, value, monkeypatch):
    """Bound the memory: Python turns two bytes into a 72-byte list, so that 8 KiB of gzip took 230 MB."""
    body = b'{"a":[' + value + (b"," + value) * MAX_VALUES + b"]}"
    monkeypatch.setattr(bodies, "STRICT", None)  # whatever is read fails
    assert send(gzip.compress(body), **GZIP) == "body_too_large"


@pytest.mark.parametrize(("view", "runs"), [(ReportView, 1), (BatchView, 100)])
def test_largest_run_reports_stay_within_the_value_limit(view, runs, rf):
    document = dict.fromkeys("abcdefghij", 0) if runs == 1 else {}
    run = {"documents": [document] * 10_000, "run_id": "", "app_name": "", "app_version": ""}
    body = gzip.compress(json.dumps({"runs": [run] * runs}).encode(), 1)
    request = rf.generic("POST", "/", body, "application/json", headers=GZIP)
    assert len(bodies.read_json_object(request, view.limits)["runs"]) == runs


@pytest.mark.parametrize(
    ("path", "code"), [("usage/report", "invalid_token"), ("beta/feedback?key=x", "programme_unknown")]
)
def test_caller_is_refused_before_the_body_is_inflated(call, monkeypatch, path, code):
    monkeypatch.setattr(bodies, "gunzip", None)  # whatever is inflated fails
    token = None if "key" in path else "vigie_nonsense"
    answer = call("POST", path, token, body=gzip.compress(BODY), headers=GZIP)
    assert answer.json()["code"] == code


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(BODY, "gzip"), (gzip.compress(BODY)[:-3], "gzip"), (gzip.compress(BODY) + b"junk", "gzip"), (zlib.compress(BODY), "gzip"),
     (BODY, "br"), (BODY, "deflate"), (BODY, "gzip, gzip")],
)  # fmt: skip
def test_unknown_or_wrong_content_encoding_is_refused(send, body, encoding):
    assert send(body, **{"Content-Encoding": encoding}) == "unsupported_encoding"


def test_other_charset_is_refused(send):
    assert send(BODY, "application/json; charset=latin-1") == "unsupported_encoding"


def test_undeclared_gzip_body_is_invalid_json(send):
    assert send(gzip.compress(BODY)) == "malformed_json"


def test_gzip_bomb_is_not_inflated_beyond_the_limit():
    bomb = gzip.compress(b"0" * 200_000_000, 9)
    assert len(bomb) < MAX_SENT
    with pytest.raises(Problem, match="body_too_large"):
        gunzip(bomb)


def test_members_of_a_gzip_body_share_one_limit():
    half = gzip.compress(b"0" * (MAX_INFLATED // 2 + 1))
    assert len(gunzip(half)) == MAX_INFLATED // 2 + 1
    with pytest.raises(Problem, match="body_too_large"):
        gunzip(half + half)


def test_refused_body_changes_nothing(call, enroll_token):
    call("POST", "agents/enroll", enroll_token, body=b'{"machine_id": "PC-1", "machine_id": "PC-2"}')
    assert not Agent.objects.exists()


class Stream:
    """Imitate gunicorn's stream of a body without a length: it ends by itself, or fails part-way."""

    def __init__(self, body=b"", error=None):
        self.body, self.error = io.BytesIO(body), error

    def read(self, size):
        if self.error:
            raise self.error
        return self.body.read(size)

    readline = read


@pytest.fixture(params=["agents/enroll", "agents/heartbeat"])
def chunked(request, client, enroll_token, agent_token):
    def sending(stream, token=enroll_token if request.param == "agents/enroll" else agent_token):
        extra = {"wsgi.input": stream, "wsgi.input_terminated": True, "HTTP_AUTHORIZATION": f"Bearer {token}"}
        return client.generic("POST", f"/api/v1/{request.param}", content_type="application/json", **extra)

    return sending


def test_chunked_body_is_read_to_its_end(chunked):
    assert chunked(Stream(BODY)).status_code in {200, 201}
    assert chunked(Stream(b'{"a": ' + b" " * MAX_SENT + b"1}")).json()["code"] == "body_too_large"


@pytest.mark.parametrize(
    "error", [InvalidChunkSize(b"PLANTED.pdf"), NoMoreData(b"PLANTED.pdf"), OSError("PLANTED.pdf")]
)
def test_truncated_body_is_a_length_mismatch_and_not_a_server_error(chunked, error, caplog):
    """Let clients retry: they discard what is malformed, but send a truncated body again."""
    answer = chunked(Stream(error=error))
    assert (answer.status_code, answer.json()["code"]) == (400, "length_mismatch")
    assert "PLANTED" not in caplog.text


def test_body_of_a_refused_call_is_not_read(chunked):
    stream = Stream(BODY * 10_000)
    assert chunked(stream, token="vigie_nonsense").status_code == 401
    assert stream.body.tell() == 0


def test_gzip_body_of_countless_empty_members_is_refused(send):
    assert send(gzip.compress(b"") * 1_000, **GZIP) == "unsupported_encoding"
