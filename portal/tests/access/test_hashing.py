"""Password hashing: two at a time per process, four more wait, the rest are refused before any hashing."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from allauth.account.utils import user_pk_to_url_str
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.test import Client
from django.urls import reverse

from portal.access.accounts import invitations
from portal.access.signin import hashing
from portal.access.signin.hashing import BoundedPasswordHasher
from portal.access.signin.too_many_attempts import TooManyAttempts

HASHER = "portal.access.signin.hashing.BoundedPasswordHasher"


@pytest.fixture(autouse=True)
def hash_limits(settings):
    """Limit hashing as installations do, with a cheap hasher."""
    settings.PASSWORD_HASHERS = [HASHER]
    BoundedPasswordHasher.iterations, iterations = 10, BoundedPasswordHasher.iterations
    yield
    BoundedPasswordHasher.iterations = iterations


@pytest.fixture
def blocked_hashes(monkeypatch):
    """Block every hash until `release` is set; `started` is released once for each that began."""
    release, started = threading.Event(), threading.Semaphore(0)
    encode = PBKDF2PasswordHasher.encode

    def slow(*args):
        started.release()
        release.wait(30)
        return encode(*args)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", slow)
    yield release, started
    release.set()


@pytest.fixture
def full_hash_slots(blocked_hashes):
    """Occupy both hash slots until the test ends."""
    _release, started = blocked_hashes
    with ThreadPoolExecutor(hashing.MOST_AT_ONCE) as pool:
        for _ in range(hashing.MOST_AT_ONCE):
            pool.submit(make_password, "x")
            started.acquire()
        yield pool
        blocked_hashes[0].set()


def test_third_hash_waits_and_is_refused(full_hash_slots, monkeypatch):
    monkeypatch.setattr(hashing, "WAIT_SECONDS", 0.01)
    with pytest.raises(TooManyAttempts) as refused:
        make_password("x")
    assert refused.value.wait == hashing.RETRY_AFTER_SECONDS


def test_third_hash_starts_when_a_slot_is_free(blocked_hashes):
    release, started = blocked_hashes
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(make_password, "x") for _ in range(3)]
        for _ in range(2):
            started.acquire()
        assert not started.acquire(blocking=False)
        release.set()
        assert all(check_password("x", future.result()) for future in done)


def test_seventh_hash_is_refused_without_waiting(full_hash_slots, monkeypatch):
    monkeypatch.setattr(hashing, "admitted", threading.BoundedSemaphore(1))
    hashing.admitted.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "running", None)
        with pytest.raises(TooManyAttempts):
            make_password("x")


def test_slots_are_released_after_a_refusal_and_after_an_error(monkeypatch):
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", lambda *args: 1 / 0)
    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            make_password("x")
    monkeypatch.undo()
    assert check_password("x", make_password("x"))


def test_password_is_hashed_at_a_lower_priority_than_requests(monkeypatch):
    def priority(*_):
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    usual = priority()
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", priority)
    assert (BoundedPasswordHasher().encode("password", "salt"), priority()) == (hashing.NICENESS, usual)


# --- Every form that hashes--------------------------------------------------------------------------------------------

NEW = {"password1": "a quite long new one", "password2": "a quite long new one"}


def reset_link(user):
    return "account_reset_password_from_key", {"uidb36": user_pk_to_url_str(user), "key": "set-password"}, NEW


WAYS = {
    "reauthentication": lambda user: ("account_reauthenticate", {}, {"password": "right"}),
    "change": lambda user: ("account_change_password", {}, NEW | {"oldpassword": "right"}),
    "reset": reset_link,
    "admin": lambda user: ("admin:auth_user_password_change", {"id": user.pk}, NEW | {"usable_password": "true"}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS)
def test_every_password_form_is_429_without_a_free_hash_slot(way, full_hash_slots, monkeypatch):
    monkeypatch.setattr(hashing, "WAIT_SECONDS", 0.01)
    user = User.objects.create_superuser("root")
    User.objects.update(password="pbkdf2_sha256$10$salt$cPEFKVuVhSmhWDqkN/NBkNpcQ8m5HXWO5IP0WLAHSe8=")
    user.refresh_from_db()
    client = Client()
    client.force_login(user)
    session = client.session
    session["_password_reset_key"] = default_token_generator.make_token(user)
    session.save()
    name, arguments, form = WAYS[way](user)
    answer = client.post(reverse(name, kwargs=arguments), form)
    assert (answer.status_code, answer["Retry-After"]) == (429, "5")


@pytest.mark.django_db
def test_accepting_an_invitation_is_429_without_a_free_hash_slot(full_hash_slots, monkeypatch):
    monkeypatch.setattr(hashing, "WAIT_SECONDS", 0.01)
    user = User.objects.create_user("jo", "jo@example.org")
    path = urlsplit(invitations.invitation_link(user)).path
    form = {"new_password1": NEW["password1"], "new_password2": NEW["password1"]}
    assert Client().post(path, form).status_code == 429
    assert invitations.is_pending(User.objects.get())
