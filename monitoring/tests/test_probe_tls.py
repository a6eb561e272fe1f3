"""Certificates that are and are not to be trusted, and until when they hold."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.probe.http import probe_http
from monitoring.probe.spec import Spec
from portal.egress.tls import shared_context
from portal.tests.helpers import hostile_servers
from portal.tests.helpers.hostile_servers import Authority, Names, Server, answer, redirects, says

DAYS = 30
WELL = says(answer(b"ok"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def ask(authority, context, behave=WELL, *, url="", **spec):
    with Server(behave, context=context) as server:
        address = url.format(port=server.port) or server.url
        names = Names(["127.0.0.1"])
        return probe_http(Spec(address, **{"timeout": 5.0} | spec), context=authority.trusting, resolve=names)


def is_in(days: int, moment: datetime) -> bool:
    return abs(moment - (datetime.now(UTC) + timedelta(days=days))) < timedelta(minutes=5)


def test_good_certificate_succeeds_with_its_end(authority):
    outcome = ask(authority, authority.server(days=DAYS))
    assert outcome.is_ok
    assert is_in(DAYS, outcome.certificate_until)


@pytest.mark.parametrize(
    ("behave", "expected", "kind"),
    [
        (says(answer(b"ok")), {"contains": "other"}, "assertion"),
        (says(answer(b"", "503 Unavailable")), {}, "status"),
        (says(b"garbage\r\n"), {}, "protocol"),
        (says(b""), {}, "connect"),
        (hostile_servers.hang, {"timeout": 0.3}, "timeout"),
        (hostile_servers.drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), {"timeout": 0.3}, "timeout"),
        (redirects("/again"), {}, "redirect"),
    ],
)
def test_certificate_end_is_known_if_something_else_fails(authority, behave, expected, kind):
    outcome = ask(authority, authority.server(days=DAYS), behave, **expected)
    assert outcome.error_kind == kind
    assert outcome.latency_ms is None
    assert is_in(DAYS, outcome.certificate_until)


@pytest.mark.parametrize(
    ("certificate", "url", "detail"),
    [
        ({"days": -1}, "", "certificate has expired"),
        ({"is_self_signed": True}, "", "self-signed certificate"),
        ({"name": "127.0.0.9"}, "", "IP address mismatch"),
        ({"name": "other.example"}, "https://name.example:{port}", "Hostname mismatch"),
    ],
)
def test_bad_certificate_fails_with_its_reason(authority, certificate, url, detail):
    outcome = ask(authority, authority.server(**certificate), url=url)
    assert outcome.error_kind == "tls"
    assert outcome.detail.startswith(detail)
    assert outcome.certificate_until is None


def test_detail_of_a_wrong_name_does_not_hold_it(authority):
    """A redirect may have brought it."""
    url = f"https://{'.'.join(['a' * 60] * 4)}:{{port}}"
    assert ask(authority, authority.server("name.example"), url=url).detail == "Hostname mismatch"


@pytest.mark.parametrize("url", ["https://name.example:{port}", "https://NAME.example.:{port}"])
def test_certificate_is_verified_for_the_name(authority, url):
    assert ask(authority, authority.server("name.example"), url=url).is_ok


def test_server_without_tls_fails():
    with Server(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), reads=False) as server:
        outcome = probe_http(Spec(f"https://127.0.0.1:{server.port}", timeout=5.0))
    assert outcome.error_kind == "tls"
    assert outcome.detail.isupper()


def test_close_during_the_handshake_is_a_connection_error():
    with Server(says(b""), reads=False) as server:
        assert probe_http(Spec(f"https://127.0.0.1:{server.port}", timeout=5.0)).error_kind == "connect"


@pytest.mark.parametrize(("first", "last"), [(10, 60), (60, 10)])
def test_earliest_end_of_several_certificates_counts(authority, first, last):
    with Server(says(answer()), context=authority.server(days=last)) as other:
        outcome = ask(authority, authority.server(days=first), redirects(other.url))
    assert outcome.is_ok
    assert is_in(10, outcome.certificate_until)


@pytest.mark.parametrize(
    ("days", "above", "first"),
    [(60, [3], 3), (5, [60], 5), (60, [20, 3], 20), (60, [20, -3], 20)],
    ids=["intermediate", "leaf", "unused one ends soon", "unused one has ended"],
)
def test_earliest_end_in_the_chain_counts(authority, days, above, first):
    outcome = ask(authority, authority.server(days=days, above=above))
    assert outcome.is_ok
    assert is_in(first, outcome.certificate_until)


def test_answer_without_tls_has_no_certificate(authority):
    assert ask(authority, None).certificate_until is None


def test_truncated_answer_under_tls_is_a_connection_error(authority):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
    outcome = ask(authority, authority.server(), says(raw))
    assert (outcome.error_kind, outcome.detail) == ("connect", "incomplete")


def test_process_shares_one_tls_context():
    context = shared_context()
    assert context is shared_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert len(context.get_ca_certs()) > 100
