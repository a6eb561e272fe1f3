"""What may be asked for: statuses, addresses of targets, JSON paths."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from django.utils import translation

from monitoring.error_texts import ERROR_LABELS, describe_error
from monitoring.probe import expect, spec
from monitoring.probe.kinds import NETWORK, ErrorKind
from monitoring.probe.spec import parse_statuses
from portal.egress.urls import clean_url


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("200", [(200, 200)]),
        ("200-399", [(200, 399)]),
        ("200-299,404", [(200, 299), (404, 404)]),
        (" 200 - 204 , 301,", [(200, 204), (301, 301)]),
        ("100-599", [(100, 599)]),
    ],
)
def test_statuses_are_ranges(text, ranges):
    assert parse_statuses(text) == ranges


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("2xx", "syntax"),
        ("200-", "syntax"),
        ("-200", "syntax"),
        ("200-300-400", "syntax"),
        ("２００", "syntax"),
        ("0200", "syntax"),
        ("099", "bounds"),
        ("200-600", "bounds"),
        ("600-700", "bounds"),
        ("399-200", "order"),
    ],
)
def test_invalid_statuses_are_refused(text, code):
    with pytest.raises(ValueError, match=f"^{code}$"):
        parse_statuses(text)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://example.org", "http://example.org"),
        ("HTTPS://Example.ORG:8443/A?b=C", "https://example.org:8443/A?b=C"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1/"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://bücher.example/ü", "http://bücher.example/ü"),
        ("http://my_host.internal./", "http://my_host.internal./"),
        ("http://xn--bcher-kva.example", "http://xn--bcher-kva.example"),
    ],
)
def test_addresses_of_targets_are_cleaned(text, clean):
    assert clean_url(text) == clean
    assert clean_url(clean) == clean


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "scheme"),
        ("example.org", "scheme"),
        ("//example.org", "scheme"),
        ("ftp://example.org", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("http://", "host"),
        ("http:///x", "host"),
        ("http://:80", "host"),
        ("http://.", "host"),
        ("http://a..b", "host"),
        ("http://-a.example", "host"),
        ("http://a%2eb", "host"),
        ("http://[fe80::1%25eth0]/", "host"),
        (f"http://{'a' * 64}.example", "host"),
        (f"http://{'a.' * 130}example", "host"),
        ("http://[::1", "syntax"),
        ("http://me:secret@example.org", "credentials"),
        ("http://@example.org", "credentials"),
        ("http://example.org:0", "port"),
        ("http://example.org:65536", "port"),
        ("http://example.org:x", "port"),
        ("http://exa mple.org", "characters"),
        ("http://example.org/\r\nX: y", "characters"),
        ("http://example.org/\x00", "characters"),
        (" http://example.org", "characters"),
        ("http://example.org\\@evil.example", "characters"),
        ("http://example.org/\u2028", "characters"),
        ("http://example.org/#top", "fragment"),
        ("http://example.org/#", "fragment"),
    ],
)
def test_invalid_address_is_refused(text, code):
    with pytest.raises(ValueError, match=f"^{code}$"):
        clean_url(text)


@pytest.mark.parametrize(
    "path",
    ["$", "$.a.b", "$['a b'][0]", "$..status", "$.a[-1:]", "$.checks[?@.name == 'db'].up", "$[?length(@.a) > 1]"],
)
def test_json_path_is_accepted(path):
    assert expect.compile_json_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("a b", "", "$.", "$.a ", "$.a | $.b", "$[", "$" + "[?(" * 5000),
        *(
            "$..a..b",
            "$[?@..a]",
            "$[?count(@.*) > 1]",
            "$[?@.a[?@.b]]",
            "$[?match(@.a, '(a+)+')]",
            "$[?search(@.a, 'x')]",
        ),
    ],
)
def test_invalid_or_slow_json_path_is_refused(path):
    with pytest.raises(ValueError, match=r"^json_path$"):
        expect.compile_json_path(path)


@pytest.mark.parametrize(
    ("kind", "detail", "said"),
    [
        ("connect", "ECONNREFUSED", "The connection was refused."),
        ("connect", "EADDRNOTAVAIL", "The connection failed: EADDRNOTAVAIL."),
        ("status", "503", "The response status was 503."),
        ("protocol", "bad line: GET..", "The response is not valid HTTP (bad line: GET..)."),
        ("tls", "certificate has expired", "The certificate is not valid: certificate has expired."),
        ("tls", "Hostname mismatch.", "The certificate is not valid: Hostname mismatch."),
        ("tls", "WRONG_VERSION_NUMBER", "The TLS connection failed: WRONG_VERSION_NUMBER."),
        ("blocked", "169.254.169.254", "Checks of this address are not allowed: 169.254.169.254."),
        ("assertion", "contains", "The response doesn’t contain the expected text."),
        ("", "", ""),
    ],
)
def test_each_error_has_a_sentence(kind, detail, said):
    with translation.override("en"):
        assert describe_error(kind, detail) == said


def test_every_error_kind_has_a_sentence_for_unknown_details():
    with translation.override("en"):
        assert all(describe_error(kind, "zzz").endswith((".", ").")) for kind in ErrorKind)


def test_only_unanswered_checks_may_be_our_own_failure():
    assert {"dns", "connect", "timeout"} == NETWORK


def test_probe_imports_no_django():
    """A probe runs in hundreds of threads that share no database connection, and can be used without the portal."""
    files = Path(spec.__file__).parent.glob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    assert not [module for module in modules if module.startswith(("django", "monitoring.models"))]


def test_every_error_kind_has_a_label():
    assert [*ERROR_LABELS] == [kind.value for kind in ErrorKind]
