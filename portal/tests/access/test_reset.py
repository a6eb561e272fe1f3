"""Resetting a password by mail."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.test import Client

from portal.access.signin.devices import COOKIE
from portal.access.signin.guessing import LIMITS, Kind
from portal.tests.helpers.smtp_sink import SmtpSink
from portal.work import queue

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("forms and mails")]
NEW = "a quite long new one"
LINK = re.compile(r"http://127\.0\.0\.1:8000(/accounts/password/reset/\S+/)")


@pytest.fixture
def mail_server(settings):
    with SmtpSink() as sink:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sink.port
        yield sink


@pytest.fixture
def alice():
    return User.objects.create_user("alice", "Alice@example.org", password="right", is_staff=True)


def ask(email="alice@example.org", *, browser=None, address="203.0.113.9", **headers):
    return (browser or Client()).post(
        "/accounts/password/reset/", {"email": email}, REMOTE_ADDR=address, headers=headers
    )


def run_queued_tasks():
    """Run the queued tasks as a worker would."""
    calls = queue.queued_calls("portal.access.reset_mail")
    for arguments in calls:
        queue.find_body("portal.access.reset_mail")(*arguments)
    queue.OrmQ.objects.all().delete()
    return calls


def reset(link, browser=None, password=NEW):
    """Follow the link and choose a password; return the response, or None if the link is no longer valid."""
    browser = browser or Client()
    page = browser.get(link)
    if page.status_code != 302:
        assert "This link has expired" in page.content.decode()
        return None
    return browser.post(page["Location"], {"password1": password, "password2": password})


def test_link_in_the_mail_sets_a_password_once(alice, mail_server):
    assert ask()["Location"] == "/accounts/password/reset/done/"
    run_queued_tasks()
    (mail,) = mail_server.mails
    assert (mail["To"], mail["Subject"]) == ("Alice@example.org", "[Vigie] Reset your password")
    link, browser = LINK.search(mail.get_content())[1], Client()
    assert reset(link, browser)["Location"] == "/accounts/password/reset/key/done/"
    alice.refresh_from_db()
    assert alice.check_password(NEW)
    assert COOKIE in browser.cookies
    assert "_auth_user_id" not in browser.session
    assert reset(link) is None
    assert not EmailAddress.objects.exists()


def test_reset_ends_other_sessions(alice, mail_server):
    elsewhere = Client()
    elsewhere.force_login(alice)
    ask()
    run_queued_tasks()
    reset(LINK.search(mail_server.mails[0].get_content())[1])
    assert elsewhere.get("/admin/").status_code == 302


def test_link_expires_after_an_hour(alice, mail_server, monkeypatch):
    ask()
    run_queued_tasks()
    link = LINK.search(mail_server.mails[0].get_content())[1]
    generator = "django.contrib.auth.tokens.PasswordResetTokenGenerator._now"
    now = queue.timezone.make_naive(queue.timezone.now())
    monkeypatch.setattr(generator, lambda self: now + timedelta(seconds=3_700))
    assert reset(link) is None


def test_mail_to_a_french_user_is_in_french(alice, mail_server):
    ask(**{"Accept-Language": "fr"})
    run_queued_tasks()
    (mail,) = mail_server.mails
    assert "Réinitialiser votre mot de passe" in mail["Subject"]
    assert "Le lien fonctionne une fois" in mail.get_content()


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "!"}, {"email": "other@example.org"}])
def test_unknown_account_gets_no_mail_and_the_same_answer(alice, mail_server, change):
    known = ask()
    run_queued_tasks()
    User.objects.update(**change)
    unknown = ask()
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert run_queued_tasks() == [([], "en")]
    assert len(mail_server.mails) == 1


def test_queue_holds_neither_token_nor_address(alice, mail_server):
    ask()
    assert queue.queued_calls("portal.access.reset_mail") == [([alice.pk], "en")]


@pytest.mark.parametrize("email", ["alice@example.org", "nobody@example.org"])
def test_fourth_request_for_one_account_is_429(alice, mail_server, email):
    answers = [ask(email, address=f"198.51.100.{n}") for n in range(4)]
    assert [answer.status_code for answer in answers] == [302, 302, 302, 429]
    assert len(run_queued_tasks()) == 3


def test_request_beyond_the_limit_of_an_address_is_429(mail_server, monkeypatch):
    monkeypatch.setitem(LIMITS, Kind.ANY, 5)
    answers = [ask(f"user{n}@example.org") for n in range(6)]
    assert [answer.status_code for answer in answers] == [302] * 5 + [429]


def test_known_device_can_request_a_reset_while_others_flood_its_user(alice, mail_server):
    browser = Client()
    browser.post("/accounts/login/", {"login": "alice", "password": "right"}, REMOTE_ADDR="192.0.2.1")
    browser.post("/accounts/logout/")
    assert [ask().status_code for _ in range(4)][-1] == 429
    assert ask(browser=browser).status_code == 302


def test_without_a_mail_server_the_page_names_the_administrator(alice, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    text = Client().get("/accounts/password/reset/").content.decode()
    assert "Ask an administrator" in text
    assert 'name="email"' not in text
    assert ask().status_code == 302
    assert not queue.OrmQ.objects.exists()


def test_hanging_mail_server_blocks_no_request(alice, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert ask().status_code == 302
