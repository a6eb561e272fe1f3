"""Guessing over HTTP: every form that takes a secret counts the attempt before it hashes or compares."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone

from portal.access.signin import guessing, hashing
from portal.access.signin.devices import COOKIE
from portal.access.signin.guessing import Kind
from portal.models import AuditEvent, GuessWindow

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.one_database("which attempts count; the counters are in test_throttle"),
]
HOME = "192.0.2.1"
# Limits of these tests. Those of the portal are in test_throttle; a page costs more to ask than a counter.
ACCOUNT, ADDRESS = 3, 5
FORMS = [*[200] * ACCOUNT, 429]


@pytest.fixture(autouse=True)
def low_limits(monkeypatch):
    limits = {Kind.SIGN_IN: ACCOUNT, Kind.CODE: ACCOUNT, Kind.ANY: ADDRESS}
    monkeypatch.setattr(guessing, "LIMITS", guessing.LIMITS | limits)


@pytest.fixture
def alice():
    return User.objects.create_user("alice", "alice@example.org", password="right", is_staff=True)


@pytest.fixture
def hashes(monkeypatch):
    """Record every password that is hashed."""
    made = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *args: made.append(args[1]) or encode(*args))
    return made


def sign_in(password, *, login="alice", browser=None, address="203.0.113.9"):
    return (browser or Client()).post("/accounts/login/", {"login": login, "password": password}, REMOTE_ADDR=address)


def statuses(answers):
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize("login", ["alice", "ALICE@example.org", "nobody", "nobody@example.org"])
def test_wrong_password_beyond_the_limit_is_429_and_costs_no_hash(alice, hashes, login):
    answers = [sign_in("wrong", login=login, address=f"198.51.100.{n}") for n in range(ACCOUNT + 1)]
    assert statuses(answers) == FORMS
    assert len(hashes) == ACCOUNT
    assert 55 <= int(answers[-1]["Retry-After"]) <= 60
    assert "no-store" in answers[-1]["Cache-Control"]
    assert "Too many attempts" in answers[-1].content.decode()


def test_name_and_address_of_one_user_share_their_counter(alice):
    answers = [sign_in("wrong", login=login) for login in ["alice", "alice@example.org"] * 2]
    assert statuses(answers) == FORMS


def test_wrong_password_beyond_the_limit_of_an_address_is_429_and_costs_no_hash(alice, hashes):
    answers = [sign_in("wrong", login=f"user{n}") for n in range(ADDRESS + 1)]
    assert statuses(answers) == [200] * ADDRESS + [429]
    assert len(hashes) == ADDRESS
    assert sign_in("right").status_code == 429
    assert sign_in("right", address=HOME).status_code == 302


def test_right_password_works_after_the_wait(alice, monkeypatch):
    for _ in range(ACCOUNT + 1):
        answer = sign_in("wrong")
    assert sign_in("right").status_code == 429
    later = timezone.now() + timedelta(seconds=int(answer["Retry-After"]) + 1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert sign_in("right").status_code == 302


def test_user_signs_in_from_a_known_device_while_others_guess(alice):
    browser = Client()
    assert sign_in("right", browser=browser, address=HOME).status_code == 302
    cookie = browser.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Lax", 31_536_000)
    browser.post("/accounts/logout/")
    assert statuses(sign_in("wrong") for _ in range(ACCOUNT + 1))[-1] == 429
    assert sign_in("right", browser=browser).status_code == 302


def test_user_signs_in_from_a_known_address_while_others_guess(alice):
    sign_in("right", address=HOME)
    assert statuses(sign_in("wrong") for _ in range(ACCOUNT + 1))[-1] == 429
    assert statuses(sign_in("wrong", address=HOME, login=f"user{n}") for n in range(ADDRESS + 1))[-1] == 429
    assert sign_in("right", address=HOME).status_code == 302


def test_password_change_keeps_this_device_known_and_forgets_the_others(alice):
    here, elsewhere = Client(), Client()
    for browser in (here, elsewhere):
        sign_in("right", browser=browser, address=HOME)
    new = "a quite long new one"
    changed = here.post("/accounts/password/change/", {"oldpassword": "right", "password1": new, "password2": new})
    assert changed.status_code == 302
    for browser in (here, elsewhere):
        browser.post("/accounts/logout/")
    assert statuses(sign_in("wrong") for _ in range(ACCOUNT + 1))[-1] == 429
    assert sign_in(new, browser=here, address="198.51.100.1").status_code == 302
    assert sign_in(new, browser=elsewhere, address="198.51.100.2").status_code == 429


# --- Other forms that take a secret ----------------------------------------------------------------------------------


@pytest.fixture
def signed_in(alice):
    browser = Client()
    browser.force_login(alice)
    return browser


@pytest.fixture
def second_factor(alice):
    totp.TOTP.activate(alice, totp.generate_totp_secret())
    RecoveryCodes.activate(alice)


@pytest.fixture
def half_signed_in(alice, second_factor):
    """Return a client that has passed the password and is asked for the second factor."""
    browser = Client()
    assert sign_in("right", browser=browser)["Location"].startswith("/accounts/2fa/authenticate/")
    return browser


def test_reauthentication_is_limited(signed_in, hashes):
    del hashes[:]
    answers = [signed_in.post("/accounts/reauthenticate/", {"password": "wrong"}) for _ in FORMS]
    assert statuses(answers) == FORMS
    assert len(hashes) == ACCOUNT


def test_guessing_the_old_password_is_limited(signed_in, hashes):
    del hashes[:]
    form = {"oldpassword": "wrong", "password1": "a quite long new one", "password2": "a quite long new one"}
    answers = [signed_in.post("/accounts/password/change/", form) for _ in FORMS]
    assert statuses(answers) == FORMS
    assert len(hashes) == ACCOUNT


def test_second_factors_are_limited_by_account(half_signed_in):
    codes = ("000001", "000002", "00000003", "00000004")  # of an app, and for recovery
    assert statuses(half_signed_in.post("/accounts/2fa/authenticate/", {"code": code}) for code in codes) == FORMS
    other = Client()
    sign_in("right", browser=other, address=HOME)
    assert other.post("/accounts/2fa/authenticate/", {"code": "000000"}, REMOTE_ADDR=HOME).status_code == 429


def test_second_factor_of_reauthentication_is_limited(signed_in, second_factor):
    answers = [signed_in.post("/accounts/2fa/reauthenticate/", {"code": f"{n:06}"}) for n in range(ACCOUNT + 1)]
    assert statuses(answers) == FORMS


def test_right_code_refunds_the_attempt_and_makes_the_device_known(alice, half_signed_in):
    for n in range(ACCOUNT - 1):
        half_signed_in.post("/accounts/2fa/authenticate/", {"code": f"{n:06}"})
    code = alice.authenticator_set.get(type="recovery_codes").wrap().get_unused_codes()[0]
    assert half_signed_in.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302
    assert COOKIE in half_signed_in.cookies
    assert set(GuessWindow.objects.filter(kind="code").values_list("count", flat=True)) == {ACCOUNT - 1}


def test_passkey_attempts_count_for_the_address(alice):
    answers = [
        Client().post("/accounts/2fa/webauthn/login/", {"credential": '{"id": "x"}'}) for _ in range(ADDRESS + 1)
    ]
    assert statuses(answers) == [302] * ADDRESS + [429]


def test_passkeys_of_the_second_step_are_limited_by_account(half_signed_in):
    answers = [half_signed_in.post("/accounts/2fa/authenticate/", {"credential": '{"id": "x"}'}) for _ in FORMS]
    assert statuses(answers) == FORMS


def test_passkeys_of_reauthentication_are_limited_by_account(alice, signed_in):
    Authenticator.objects.create(user=alice, type="webauthn", data={"name": "key", "credential": {}})
    wrong = {"credential": '{"id": "x"}'}
    answers = [signed_in.post("/accounts/2fa/webauthn/reauthenticate/", wrong) for _ in range(ACCOUNT + 1)]
    assert statuses(answers) == [302] * ACCOUNT + [429]


@pytest.mark.parametrize(
    "credential",
    [
        "x",
        "[]",
        "1",
        '{"id": "x"}',
        "[" * 10_000,
        '"' + "x" * 30_000 + '"',
        '{"response": []}',
        '{"response": {"userHandle": "' + "z" * 40 + '"}}',
    ],
)
def test_malformed_passkey_is_refused_without_an_error(signed_in, half_signed_in, credential):
    assert Client().post("/accounts/2fa/webauthn/login/", {"credential": credential}).status_code == 302
    assert half_signed_in.post("/accounts/2fa/authenticate/", {"credential": credential}).status_code == 200
    record = {"account_authentication_methods": [{"method": "password", "at": time.time(), "reauthenticated": True}]}
    session = signed_in.session
    session.update(record | {"account_authentication_methods_user": session["_auth_user_id"]})
    session.save()
    assert signed_in.post("/accounts/2fa/webauthn/add/", {"credential": credential, "name": "x"}).status_code == 200


@pytest.mark.each_database
def test_twelve_simultaneous_sign_ins_run_two_hashes_at_a_time(monkeypatch, settings, transactional_db):
    """Expect each to sign in, or to get 429 because it would wait too long."""
    settings.PASSWORD_HASHERS = ["portal.access.signin.hashing.BoundedPasswordHasher"]
    monkeypatch.setattr(hashing.BoundedPasswordHasher, "iterations", 1_000)
    User.objects.create_user("alice", password="right")
    at_once, most, lock = [0], [0], threading.Lock()
    encode = hashing.PBKDF2PasswordHasher.encode

    def watched(*args):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        try:
            return encode(*args)
        finally:
            with lock:
                at_once[0] -= 1

    monkeypatch.setattr(hashing.PBKDF2PasswordHasher, "encode", watched)
    start = threading.Barrier(12)

    def one(n):
        start.wait()
        try:
            return sign_in("right", address=f"198.51.100.{n}").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(one, range(12)))
    assert set(found) <= {302, 429}
    assert 302 in found
    assert most[0] <= 2


@pytest.mark.parametrize("login", ["alice", "nobody"])
def test_sign_in_without_a_free_hash_slot_is_429(alice, login, monkeypatch, settings):
    settings.PASSWORD_HASHERS = ["portal.access.signin.hashing.BoundedPasswordHasher"]
    monkeypatch.setattr(hashing.BoundedPasswordHasher, "iterations", 10)
    User.objects.filter(username="alice").update(password=make_password("right"))
    monkeypatch.setattr(hashing, "WAIT_SECONDS", 0.01)
    for _ in range(2):
        hashing.running.acquire()
    try:
        answer = sign_in("right", login=login)
    finally:
        for _ in range(2):
            hashing.running.release()
    assert (answer.status_code, answer["Retry-After"]) == (429, "5")
    assert not AuditEvent.objects.filter(action="refused.throttled").exists()
