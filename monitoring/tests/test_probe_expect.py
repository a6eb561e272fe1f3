"""What an answer must hold, and answers made to break whoever looks."""

from __future__ import annotations

import gzip
import zlib

import pytest

from monitoring.probe import expect
from monitoring.probe.spec import Spec
from monitoring.tests.helpers.probing import HELD, ask, probe
from portal.tests.helpers.hostile_servers import Server, answer, says

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
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
def test_each_expectation_is_checked(expected, broken):
    raw = answer(JSON, "200 OK", "X-Version: 2.1 beta", "X-Version: second")
    assert ask(says(raw), **expected) == (("assertion", broken) if broken else HELD)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("déjà".encode(), "text/html"),
        ("déjà".encode(), "text/html; charset=utf-8"),
        ("déjà".encode("latin-1"), 'text/html; charset="ISO-8859-1"'),
        ("déjà".encode("latin-1"), "text/html; charset = latin1"),
        ("déjà".encode("utf-16"), "text/html; charset=utf-16"),
        ("déjà".encode(), "text/html; charset=punycode"),
        ("déjà".encode(), "text/html; charset=base64"),
        ("déjà".encode(), "text/html; charset=no-such-thing"),
        (b"\xff\xfe d\xc3\xa9j\xc3\xa0", "text/html"),
    ],
)
def test_text_is_searched_in_the_charset_of_the_answer(body, content_type):
    assert ask(says(answer(body, "200 OK", f"Content-Type: {content_type}")), contains="déjà") == HELD


@pytest.mark.parametrize(
    ("charset", "word"),
    [
        ("windows-1251", "работает"),
        ("KOI8-U", "працює"),
        ("shift_jis", "動作中"),
        ("gb18030", "运行"),
        ("euc-kr", "작동"),
        ("windows-874", "ปกติ"),
        ("iso-8859-7", "λειτουργεί"),
    ],
)
def test_charset_of_the_header_is_any_known_to_python(charset, word):
    raw = answer(
        word.encode(charset.replace("windows-", "cp")), "200 OK", f"Content-Type: text/html; charset={charset}"
    )
    assert ask(says(raw), contains=word) == HELD


@pytest.mark.parametrize(
    ("start", "content_type", "broken"),
    [
        ('<meta charset="iso-8859-1">', "text/html", ""),
        ("<html><META lang=fr\n charset=latin1>", "text/html", ""),
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', "text/html", ""),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>', "application/rss+xml", ""),
        ('<meta charset="iso-8859-1">', "text/html; charset=no-such-thing", ""),
        ('<meta charset="iso-8859-1">', "text/html; charset=utf-8", "contains"),
        (" " * 2_000 + '<meta charset="iso-8859-1">', "text/html", "contains"),
        ("<p>charset=iso-8859-1</p>", "text/html", "contains"),
    ],
)
def test_charset_of_the_document_is_used_without_one_in_the_header(start, content_type, broken):
    raw = answer(f"{start} déjà".encode("latin-1"), "200 OK", f"Content-Type: {content_type}")
    assert ask(says(raw), contains="déjà") == (("assertion", broken) if broken else HELD)


def deflated(body: bytes) -> bytes:
    """Without the header of zlib, as some servers send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("X-GZip", gzip.compress), ("deflate", zlib.compress), ("deflate", deflated)],
)
def test_compressed_answer_is_read(coding, pack):
    raw = answer(pack(JSON), "200 OK", f"Content-Encoding: {coding}")
    assert ask(says(raw), contains='"ok"', json_path="status", json_value="ok") == HELD


def test_wrong_content_encoding_fails_if_the_body_is_needed():
    raw = answer(JSON, "200 OK", "Content-Encoding: gzip")
    assert ask(says(raw), contains="ok") == ("assertion", "content_encoding")
    assert ask(says(raw)) == HELD


@pytest.mark.parametrize(
    ("pack", "content", "times", "size"),
    [
        (zlib.compress, 100 * 1024 * 1024, 1, expect.BODY_LENGTH),
        (gzip.compress, 0, 50_000, 0),
        (gzip.compress, expect.BODY_LENGTH - 1, 1, expect.BODY_LENGTH - 1),
    ],
)
def test_compression_bomb_is_inflated_up_to_the_body_limit(pack, content, times, size):
    packed = pack(bytes(content)) * times
    assert len(expect.decompress_body(packed, {"Content-Encoding": "gzip"})) == size


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
def test_hostile_json_fails_the_expectation(body, broken):
    assert ask(says(answer(body)), json_path="$..a", json_value="1", timeout=2.0) == ("assertion", broken)


def test_exploding_json_path_is_stopped():
    body = b"[" * 40 + b"]" * 40
    assert ask(says(answer(body)), json_path="$" + "[*,*]" * 30, timeout=2.0) == ("assertion", "json_path")


def test_long_keys_do_not_fill_the_memory():
    body = b'{"' + b"k" * 500_000 + b'":[' + b"[]," * 20_000 + b"[]]}"
    assert ask(says(answer(body)), json_path="$.*.*.*", timeout=2.0) == ("assertion", "json_path")


def test_detail_never_holds_content_or_the_request():
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
