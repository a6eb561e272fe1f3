"""Signing in and out: accepted users, redirects, and what pages must not reveal."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.urls import NoReverseMatch, reverse

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("forms and redirects")]
PASSWORD = "correct horse battery"
LOGIN = "/accounts/login/"


@pytest.fixture
def alice():
    return User.objects.create_superuser("alice", "alice@example.org", PASSWORD)


def sign_in(client, login="alice", password=PASSWORD, **fields):
    return client.post(LOGIN, {"login": login, "password": password, **fields})


def is_signed_in(client):
    return client.get("/admin/").status_code == 200


@pytest.mark.parametrize("login", ["alice", "alice@example.org", "ALICE@Example.org", " alice "])
def test_username_and_unique_email_sign_in(client, alice, login):
    assert sign_in(client, login).url == "/admin/"
    assert is_signed_in(client)


@pytest.mark.parametrize("login", ["alice@example.org", "bob", "Alice", ""])
def test_shared_email_and_unknown_name_are_refused_alike(client, alice, login):
    User.objects.create_user("alina", "alice@example.org", PASSWORD)
    assert sign_in(client, login).status_code == 200
    assert not is_signed_in(client)


@pytest.mark.parametrize("login", ["alice", "alice@example.org", "nobody", "nobody@example.org"])
def test_wrong_password_costs_one_hash(client, alice, monkeypatch, login):
    computed = []
    encode = hashers.MD5PasswordHasher.encode
    monkeypatch.setattr(hashers.MD5PasswordHasher, "encode", lambda *args: computed.append(1) or encode(*args))
    sign_in(client, login, "a wrong password")
    assert len(computed) == 1


@pytest.mark.parametrize(
    ("asked", "target"),
    [("/admin/usage/run/?q=1", "/admin/usage/run/?q=1"), ("https://evil.example/", "/admin/"), ("//evil.example", "/admin/"),
     ("/\\evil.example", "/admin/"), ("javascript:alert(1)", "/admin/"), ("", "/admin/")],
)  # fmt: skip
def test_next_parameter_redirects_to_local_pages_only(client, alice, asked, target):
    assert sign_in(client, next=asked).url == target
    led = client.get("/admin/login/", {"next": asked})
    assert parse_qs(urlsplit(led.url).query) == {"next": [target]}


def test_old_login_page_redirects_to_the_sign_in_page(client):
    assert (
        client.get("/admin/usage/run/", follow=True).redirect_chain[-1][0] == "/accounts/login/?next=/admin/usage/run/"
    )
    assert (
        client.post("/admin/login/", {"username": "alice", "password": PASSWORD}).url == "/accounts/login/?next=/admin/"
    )


def test_user_without_staff_status_sees_a_message_and_no_redirect_loop(client):
    User.objects.create_user("bob", password=PASSWORD)
    sign_in(client, "bob")
    refused = client.get("/admin/", follow=True)
    assert refused.status_code == 403
    assert 'href="/accounts/logout/"' in refused.content.decode()
    assert client.get("/accounts/logout/").status_code == 200


@pytest.mark.parametrize("path", ["/accounts/logout/", "/admin/logout/"])
def test_signing_out_requires_post(client, alice, path):
    client.force_login(alice)
    client.get(path, follow=True)
    assert is_signed_in(client)
    assert client.post(path).url == LOGIN
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "name", ["account_signup", "account_email", "account_confirm_email", "socialaccount_connections"]
)
def test_unneeded_allauth_routes_are_404(name):
    with pytest.raises(NoReverseMatch):
        reverse(name)


def test_new_passwords_have_twelve_characters_and_old_ones_stay_valid(client):
    User.objects.create_superuser("carol", password="Zyx98765")
    sign_in(client, "carol", "Zyx98765")
    assert is_signed_in(client)
    with pytest.raises(ValidationError):
        validate_password("Zyx98765abc")


def test_inactive_user_learns_it_only_after_the_right_password(client, alice):
    User.objects.update(is_active=False)
    assert sign_in(client, password="a wrong password").status_code == 200
    assert sign_in(client).url == "/accounts/inactive/"
    assert not is_signed_in(client)


def test_anonymous_post_is_not_replayed_after_sign_in(client):
    assert client.post("/accounts/2fa/webauthn/keys/1/remove/", {"a": "b"}).url.startswith(LOGIN)
    assert "sessionid" not in client.cookies
