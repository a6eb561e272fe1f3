"""Tracking of the portal's own sessions."""

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession as SignedIn
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError
from django.test import Client
from django.utils import timezone

from portal.access.signin.sessions import end_sessions
from portal.access.signin.user_agents import summarize_user_agent
from usage.models import UserSession
from usage.tracking import sessions
from usage.tracking.sessions import truncate_ip

pytestmark = pytest.mark.django_db
PASSWORD = "a long password"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"


@pytest.fixture
def alice():
    return User.objects.create_superuser("alice", "alice@example.org", PASSWORD)


def log_in(client, **headers):
    form = {"login": "alice", "password": PASSWORD}
    return client.post("/accounts/login/", form, headers=headers, REMOTE_ADDR="203.0.113.77")


def test_login_starts_a_session_without_address_and_user_agent(client, alice):
    log_in(client, **{"User-Agent": FIREFOX})
    session = UserSession.objects.get()
    assert (session.user_email, session.source) == ("alice@example.org", "portal")
    assert (session.ip, session.user_agent) == ("203.0.113.0/24", "Firefox 131, Linux")
    assert (session.session_end, session.duration_seconds) == (None, None)
    assert timezone.now() - session.session_start < timedelta(minutes=1)


def test_logout_ends_only_its_session(client, alice):
    log_in(Client())
    log_in(client)
    UserSession.objects.update(session_start=timezone.now() - timedelta(hours=2, seconds=1))
    client.post("/admin/logout/")
    other, session = UserSession.objects.order_by("pk")
    assert other.session_end is None
    assert 7201 <= session.duration_seconds <= 7230
    assert session.session_end - session.session_start >= timedelta(hours=2)


def test_session_that_the_portal_ends_is_no_longer_tracked(client, alice):
    for browser in (client, Client()):
        log_in(browser)
    end_sessions(SignedIn.objects.all(), keep=client.session.session_key)
    assert [bool(session.session_end) for session in UserSession.objects.order_by("pk")] == [False, True]


def test_password_change_ends_tracking_of_the_other_sessions(client, alice):
    for browser in (client, Client()):
        log_in(browser)
    new = "a quite different password"
    client.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert [bool(session.session_end) for session in UserSession.objects.order_by("pk")] == [False, True]


def test_session_never_ends_before_its_start(client, alice):
    log_in(client)
    UserSession.objects.update(session_start=timezone.now() + timedelta(hours=1))  # a clock that was set back
    client.post("/admin/logout/")
    assert UserSession.objects.get().duration_seconds == 0


def test_second_login_ends_the_first_session(client, alice):
    log_in(client)
    client.force_login(alice)
    before, now = UserSession.objects.order_by("pk")
    assert before.session_end is not None
    assert now.session_end is None


def test_login_as_another_user_ends_the_session_before(client, alice):
    log_in(client)
    client.force_login(User.objects.create_superuser("bea", "bea@example.org", PASSWORD))
    ended = {session.user_email: session.session_end is not None for session in UserSession.objects.all()}
    assert ended == {"alice@example.org": True, "bea@example.org": False}


def test_changed_password_ends_the_session(client, alice):
    log_in(client)
    alice.set_password("another long password")
    alice.save()
    assert client.get("/admin/").status_code == 302
    assert UserSession.objects.get().session_end is not None


def test_first_of_two_logouts_ends_the_session(alice):
    session = UserSession.objects.create(user_email="alice", session_start=timezone.now() - timedelta(hours=1))
    first, second = timezone.now() - timedelta(minutes=30), timezone.now()
    assert UserSession.objects.filter(pk=session.pk).end(first) == 1
    assert UserSession.objects.all()._end(session, second) == 0  # read before the first wrote
    session.refresh_from_db()
    assert session.session_end == first


def test_wrong_password_starts_no_session(client, alice):
    client.post("/accounts/login/", {"login": "alice", "password": "wrong"})
    assert not UserSession.objects.exists()


def test_tracking_off_starts_none_but_ends_open_sessions(client, alice, settings):
    log_in(client)
    settings.TRACKING = False
    log_in(Client())
    client.post("/admin/logout/")
    assert UserSession.objects.get().session_end is not None


@pytest.mark.parametrize("method", ["create", "filter"])
@pytest.mark.parametrize("error", [DatabaseError, InterfaceError])
def test_login_and_logout_succeed_without_tracking_tables(client, alice, monkeypatch, caplog, method, error):
    def failing(*args, **fields):
        raise error(PASSWORD)

    monkeypatch.setattr(sessions.UserSession.objects, method, failing)
    assert log_in(client).status_code == 302
    assert client.get("/admin/").status_code == 200
    client.post("/admin/logout/")
    assert client.get("/admin/").status_code == 302
    assert f"could not be tracked: {error.__name__}" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::9", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_address_is_cut_to_its_network(address, network):
    assert truncate_ip(address) == network


@pytest.mark.one_database("computed in Python")
@pytest.mark.parametrize(
    ("user_agent", "names"),
    [
        (FIREFOX, "Firefox 131, Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
            "Safari/537.36 Edg/130.0.2849.46",
            "Edge 130, Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 "
            "Safari/605.1.15",
            "Safari 17, macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/17.6 Mobile/15E148 Safari/604.1",
            "Safari 17, iOS",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
            "Mobile Safari/537.36",
            "Chrome 130, Android",
        ),
        ("vigie-client/1.4.0", "vigie-client 1"),
        ("curl/8.9.1", "curl 8"),
        ("K4NARI bob@example.org", ""),
        ("Firefox/K4NARI (Windows; bob@example.org)", "Windows"),
        ("x" * 600 + FIREFOX, ""),
        ("", ""),
    ],
)
def test_user_agent_is_reduced_to_known_names(user_agent, names):
    assert summarize_user_agent(user_agent) == names
