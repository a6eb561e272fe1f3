"""Statuses that are expected, and redirects that are followed or not."""

from __future__ import annotations

import pytest

from monitoring.probe.http import MOST_COOKIES, MOST_REDIRECTS
from monitoring.probe.spec import Spec
from monitoring.tests.helpers.probing import HELD, ask, probe
from portal.tests.helpers.hostile_servers import Names, Server, answer, redirects, routes, says


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
def test_only_expected_statuses_succeed(status, expected, held):
    with Server(says(answer(b"", status))) as server:
        outcome = probe(Spec(server.url, expected_statuses=expected))
    assert (outcome.error_kind, outcome.detail) == (HELD if held else ("status", status[:3]))
    assert outcome.status == int(status[:3])


def test_redirects_are_followed():
    behave = routes(root=redirects("/b?c=d#e"), b=says(answer(b"there")))
    with Server(behave) as server:
        assert probe(Spec(server.url, contains="there")).is_ok
    assert server.requests[1].startswith(b"GET /b?c=d HTTP")


def test_too_many_redirects_fail():
    with Server(redirects("/again")) as server:
        outcome = probe(Spec(server.url))
    assert (outcome.error_kind, outcome.detail, outcome.status) == ("redirect", "too_many", 302)
    assert len(server.requests) == MOST_REDIRECTS + 1


def test_redirects_up_to_the_limit_succeed():
    def count_down(visit):
        left = int(visit.path.strip("/"))
        (redirects(f"/{left - 1}") if left else says(answer()))(visit)

    with Server(count_down) as server:
        assert probe(Spec(f"{server.url}/{MOST_REDIRECTS}")).is_ok
        assert not probe(Spec(f"{server.url}/{MOST_REDIRECTS + 1}")).is_ok


def sets(*cookies, to="/again"):
    """A redirect that sets them, until it is asked with any cookie."""
    redirect = says(answer(b"", "302 Found", f"Location: {to}", *(f"Set-Cookie: {cookie}" for cookie in cookies)))
    return lambda visit: (says(answer()) if b"\r\nCookie: " in visit.head else redirect)(visit)


@pytest.mark.parametrize(
    ("cookies", "sent"),
    [
        (["visited=1; Path=/"], b"visited=1"),
        (["a=1", "b=2; HttpOnly; SameSite=Lax"], b"a=1; b=2"),
        (["a=1", "b=; Max-Age=0", "c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], b"a=1"),
        (["a=1\rX: y"], b"a=1 X: y"),
    ],
)
def test_cookies_of_a_redirect_are_sent_to_the_next_address(cookies, sent):
    with Server(sets(*cookies)) as server:
        assert probe(Spec(server.url)).is_ok
    [first, second] = server.requests
    assert b"Cookie" not in first
    assert b"\r\nCookie: " + sent + b"\r\n" in second


@pytest.mark.parametrize(
    "cookie", ["a=1; Secure", "a=1; Path=/admin", "a=1; Domain=example.org", "a=; Max-Age=0", "a=1; Max-Age=0"]
)
def test_cookie_is_not_sent_where_a_browser_would_not_send_it(cookie):
    assert ask(sets(cookie)) == ("redirect", "too_many")


def test_cookie_is_sent_to_no_other_host_and_by_no_later_check():
    resolve = Names(["127.0.0.1"])
    with Server(says(answer())) as other, Server(sets("a=1", to=f"http://two.example:{other.port}/")) as server:
        for _ in range(2):
            assert probe(Spec(f"http://one.example:{server.port}/"), resolve=resolve).is_ok
    assert len(server.requests) == len(other.requests) == 2
    assert not any(b"Cookie" in head for head in server.requests + other.requests)


def test_too_many_cookies_are_not_kept():
    assert ask(sets(*(f"c{number}=1" for number in range(MOST_COOKIES + 1)))) == ("redirect", "too_many")


def test_redirect_is_final_if_redirects_are_not_followed():
    assert ask(redirects("/again"), follow_redirects=False) == HELD
    assert ask(redirects("/again"), follow_redirects=False, expected_statuses="200") == ("status", "302")


@pytest.mark.parametrize("headers", [(), ("Location: ",)])
def test_redirect_without_location_is_final(headers):
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
def test_redirect_to_a_refused_address_fails(location, kind, detail):
    assert ask(redirects(location)) == (kind, detail)


def test_private_address_is_refused_unless_allowed():
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
def test_redirect_changes_the_method_as_in_browsers(status, method, then):
    with Server(routes(root=redirects("/b", status), b=says(answer()))) as server:
        assert probe(Spec(server.url, method=method)).is_ok
    assert server.methods == [method, then]


def test_non_ascii_location_is_followed():
    behave = routes(root=redirects("/é b".encode().decode("latin-1")), **{"%C3%A9%20b": says(answer())})
    assert ask(behave) == HELD
