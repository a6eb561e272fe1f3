"""Guessing limits by account and address, and who can still sign in meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections
from django.test import RequestFactory
from django.utils import timezone

from portal import audit
from portal.access.models import FORGOTTEN_AFTER
from portal.access.signin import guessing
from portal.access.signin.devices import COOKIE, KnownDeviceMiddleware, note_device
from portal.access.signin.guessing import Counter, Kind, count_attempt
from portal.access.signin.too_many_attempts import TooManyAttempts
from portal.desk.findings import current_findings
from portal.models import AuditEvent, GuessWindow

STRANGER, HOME = "203.0.113.9", "192.0.2.1"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock(monkeypatch):
    """Provide a clock that stands still until the test moves it."""

    class Clock:
        now = timezone.now()

        def move(self, length):
            self.now += length

    moving = Clock()
    monkeypatch.setattr(timezone, "now", lambda: moving.now)
    return moving


@pytest.fixture
def alice(db):
    return User.objects.create_user("alice", password="right")


def request_from(address, cookies=None):
    request = RequestFactory().post("/", REMOTE_ADDR=address)
    request.COOKIES.update(cookies or {})
    request.user = AnonymousUser()
    return request


def guess(user, *, address=STRANGER, kind=Kind.SIGN_IN, name="", cookies=None, times=1, right=False):
    """Return the delay in seconds imposed on each guess, None for one that was allowed."""
    waits = []
    for _ in range(times):
        try:
            attempt = count_attempt(request_from(address, cookies), kind, user, name)
        except TooManyAttempts as refused:
            waits.append(refused.wait)
        else:
            waits.append(None)
            if right:
                attempt.succeeded()
    return waits


@pytest.fixture
def ten_per_address(monkeypatch):
    monkeypatch.setitem(guessing.LIMITS, Kind.ANY, 10)


def cookie_of(user):
    """Return the device cookie that a browser gets when the user signs in."""

    def sign_in(request):
        note_device(request, user)
        return HttpResponseStub()

    response = KnownDeviceMiddleware(sign_in)(request_from(HOME))
    return {COOKIE: response.cookies[COOKIE]}


class HttpResponseStub:
    def __init__(self):
        self.cookies = {}

    def set_cookie(self, name, value, **options):
        assert options["httponly"]
        assert options["samesite"] == "Lax"
        self.cookies[name] = value


def test_eleventh_guess_at_an_account_must_wait_from_any_address(alice, clock):
    waits = [guess(alice, address=f"198.51.100.{n}")[0] for n in range(11)]
    assert waits == [None] * 10 + [60]
    clock.move(MINUTE)
    assert guess(alice) == [None]


def test_guesses_at_an_account_stay_within_the_limit_in_every_minute(alice, clock):
    assert guess(alice) == [None]
    clock.move(timedelta(seconds=59))
    assert guess(alice, times=9)[-1] is None
    clock.move(timedelta(seconds=2))
    assert guess(alice) == [58]
    clock.move(timedelta(seconds=58))
    assert guess(alice) == [None]


def test_spellings_of_an_unknown_account_share_one_counter(db, clock):
    """Hide whether the user exists: separate counters for spellings would reveal it."""
    for name, other, wait in (("nobody", "Nobody", None), ("nobody@example.org", "NOBODY@example.org", 60)):
        assert guess(None, name=name, times=11) == [None] * 10 + [60]
        assert guess(None, name=other) == [wait]
    assert "nobody" not in str(list(GuessWindow.objects.values()))


def test_flood_of_names_shares_a_bounded_number_of_counters(db, clock, monkeypatch):
    monkeypatch.setattr(guessing, "UNKNOWN_DIGITS", 1)
    for n in range(60):
        guess(None, address=f"198.51.100.{n}", name=f"user{n}")
    assert 0 < GuessWindow.objects.exclude(account="").count() <= 16


def test_101st_guess_from_an_address_must_wait_and_counts_for_no_account(alice, clock):
    assert guess(None, name="", times=100) == [None] * 100
    assert guess(alice) == [60]
    assert not GuessWindow.objects.exclude(account="").exists()
    assert guess(alice, address=HOME) == [None]


def test_ipv6_addresses_are_counted_by_network(db, clock, ten_per_address):
    assert guess(None, address="2001:db8::1", times=10)[-1] is None
    assert guess(None, address="2001:db8::ffff") == [60]
    assert guess(None, address="2001:db8:0:1::1") == [None]


def test_refused_guess_at_an_account_is_not_counted_at_the_address(alice, clock):
    guess(alice, times=30)
    assert GuessWindow.objects.get(kind=Kind.ANY).count == 10


def test_delays_grow_to_an_hour_and_reset_after_a_quiet_day(alice, clock):
    waits = []
    for _ in range(9):
        waits.append(guess(alice, times=11)[-1])
        clock.move(timedelta(seconds=waits[-1]))
    assert [wait // 60 for wait in waits] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    clock.move(FORGOTTEN_AFTER)
    assert guess(alice, times=11)[-1] == 60
    clock.move(MINUTE)
    assert guess(alice, times=11)[-1] == 120


def test_success_refunds_only_its_own_attempt(alice, clock):
    guess(alice, times=9)
    assert guess(alice, times=5, right=True) == [None] * 5
    assert guess(alice, times=2) == [None, 60]
    assert set(GuessWindow.objects.values_list("count", flat=True)) == {10}


def test_known_device_gets_in_while_others_guess(alice, clock):
    cookies = cookie_of(alice)
    guess(alice, times=11)
    guess(alice, cookies=cookies, times=5)
    assert guess(alice, cookies=cookies, right=True) == [None]
    assert guess(alice, cookies=cookies, times=11) == [None] * 10 + [60]


def test_device_is_known_only_for_its_user_and_password(alice, clock):
    cookies = cookie_of(alice)
    bob = User.objects.create_user("bob")
    for user in (alice, bob):
        guess(user, times=10)
    assert guess(bob, cookies=cookies) == [60]
    assert guess(alice, cookies={COOKIE: cookies[COOKIE][:-1]}) == [60]
    alice.set_password("new")
    assert guess(alice, cookies=cookies) == [60]


def test_known_address_gets_in_while_others_guess(alice, clock, ten_per_address):
    audit.record_event("user.logged_in", "user:alice", request=request_from(HOME), actor="user:alice")
    guess(alice, times=11)
    guess(None, address=HOME, times=11)
    assert guess(alice, address=HOME, right=True) == [None]
    assert guess(User.objects.create_user("bob"), address=HOME) == [60]
    assert guess(alice, address=HOME, times=11) == [None] * 10 + [60]
    clock.move(timedelta(days=91))
    guess(alice, times=10)
    assert guess(alice, address=HOME) == [60]


def test_guesses_from_one_address_do_not_block_other_accounts(alice, clock):
    guess(User.objects.create_user("bob"), times=50)
    assert guess(alice, right=True) == [None]


def test_second_factors_and_resets_have_separate_limits(alice, clock):
    assert guess(alice, kind=Kind.CODE, times=11) == [None] * 10 + [60]
    assert guess(alice, kind=Kind.RESET, times=4) == [None] * 3 + [60]
    assert guess(alice) == [None]


def test_refusal_is_audited(alice, clock):
    guess(alice, times=12)
    event = AuditEvent.objects.get()
    assert (event.action, event.address, event.count) == ("refused.throttled", STRANGER, 2)


def test_refusals_of_one_ipv6_network_share_one_audit_event(alice, clock):
    guess(alice, times=10)
    for n in range(3):
        guess(alice, address=f"2001:db8::{n}")
    assert AuditEvent.objects.values_list("address", "count").get() == ("2001:db8::/64", 3)


def test_landing_page_names_the_attacked_account_and_the_address(alice, clock, monkeypatch):
    monkeypatch.setitem(guessing.LIMITS, Kind.ANY, 40)
    guess(alice, times=11)
    guess(alice, kind=Kind.CODE, times=10)
    guess(None, name="nobody", times=11)
    guess(None, times=40)
    texts = [finding.text for finding in current_findings(clock.now) if finding.action == "View refusals"]
    assert len(texts) == 4
    assert "Many wrong second factors for alice" in texts[0]
    for part in ("sign-ins as alice", "as a user who does not exist", f"from {STRANGER}"):
        assert any(part in text for text in texts[1:]), part
    clock.move(timedelta(hours=2))
    assert not [finding for finding in current_findings(clock.now) if finding.action == "View refusals"]


def test_expired_counters_are_pruned(alice, clock):
    guess(alice)
    assert not GuessWindow.objects.forgotten(clock.now).exists()
    clock.move(FORGOTTEN_AFTER + MINUTE)
    assert GuessWindow.objects.forgotten(clock.now).count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("known", [False, True])
def test_simultaneous_guesses_never_exceed_the_limit(known):
    """Cover both an existing counter and the race to create it."""
    counter, callers = Counter(Kind.SIGN_IN, "a" * 64), 24
    if known:
        now = timezone.now()
        GuessWindow.objects.create(**counter.key(), window_started_at=now, window_ends_at=now, count=10, total=10)
    start = threading.Barrier(callers)

    def claim(_):
        start.wait()
        try:
            return counter.claim(timezone.now())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(callers) as pool:
        claimed = list(pool.map(claim, range(callers)))
    assert claimed.count(True) == guessing.LIMITS[Kind.SIGN_IN]
    assert GuessWindow.objects.get().count == 10
