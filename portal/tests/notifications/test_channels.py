"""E-mail, webhooks and Apprise against servers on local sockets, and what all channels have in common."""

import hashlib
import hmac
import json
import logging
import threading
from datetime import UTC, datetime

import apprise
import pytest
from apprise.plugins import NotifyBase
from django.core import mail as outbox

from portal.base.encryption import encrypt
from portal.base.logs import redact_tokens
from portal.models import NotificationChannel
from portal.notifications.channels import base, send
from portal.notifications.channels.base import DeliveryError, RenderedMessage, run_within
from portal.notifications.channels.http import parse_retry_after
from portal.tests.helpers import receiver
from portal.tests.helpers.receiver import Receiver
from portal.tests.helpers.smtp_sink import SmtpSink

SECRET = "K4NARI-key"


@pytest.fixture(autouse=True)
def a_deadline(monkeypatch):
    monkeypatch.setattr(base, "SEND_SECONDS", 5.0)


def channel(kind, secret=SECRET):
    return NotificationChannel(pk=1, name="C", kind=kind, secret=encrypt(secret))


def message(address, **fields):
    return RenderedMessage(
        **{
            "id": "0123abcd",
            "address": address,
            "subject": "backup:7",
            "severity": 1,
            "state": "opened",
            "title": "Late",
            "text": "Nothing <since> noon.",
            "url": "https://vigie.example.org/admin/",
            "at": datetime(2026, 3, 10, 10, 2, tzinfo=UTC),
        }
        | fields
    )


def refused(kind, address, secret=SECRET, **fields):
    with pytest.raises(DeliveryError) as caught:
        send(channel(kind, secret), message(address, **fields))
    return caught.value


# --- E-mail ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def smtp(settings):
    with SmtpSink() as sink:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sink.port
        yield sink


def test_mail_arrives_as_text_and_html(smtp, settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    assert send(channel("email"), message("bob@example.org")) == "bob@example.org"
    (mail,) = smtp.mails
    assert (mail["Subject"], mail["To"], mail["From"]) == ("[Vigie] Late", "bob@example.org", "vigie@localhost")
    assert mail["Message-ID"] == "<0123abcd@vigie.example.org>"
    text, html = (mail.get_body([kind]).get_content() for kind in ("plain", "html"))
    assert text.strip().replace("\r\n", "\n") == "Nothing <since> noon.\n\nhttps://vigie.example.org/admin/"
    assert "Nothing &lt;since&gt; noon." in html
    assert '<a href="https://vigie.example.org/admin/">' in html


def test_title_cannot_inject_mail_headers(smtp):
    send(channel("email"), message("bob@example.org", title="Late\r\nBcc: eve@example.org\r\n\r\nHello"))
    assert smtp.mails[0]["Bcc"] is None
    refused("email", "bob@example.org\nBcc: eve@example.org")
    assert len(smtp.mails) == 1


@pytest.mark.parametrize(
    ("command", "answer", "permanent", "only_this"),
    [
        ("RCPT", "550 no such user", True, True),
        ("RCPT", "450 greylisted", False, True),
        ("MAIL", "553 we do not know you", True, False),
        ("MAIL", "451 later", False, False),
        ("RCPT", "550 5.1.1 no such user", True, True),
        ("RCPT", "550 5.7.1 relaying denied", True, False),
        ("RCPT", "554 not for you", True, False),
        ("END OF DATA", "554 looks like spam", True, False),
        ("END OF DATA", "554 5.6.0 no such charset", True, True),
        ("END OF DATA", "552 5.3.4 too large", True, True),
        ("END OF DATA", "552 too large", True, True),
        ("END OF DATA", "452 disk full", False, False),
    ],
)
def test_smtp_answer_decides_between_retry_and_failure(smtp, command, answer, permanent, only_this):
    smtp.answers[command] = answer
    error = refused("email", "bob@example.org")
    assert (error.permanent, error.only_this) == (permanent, only_this)
    assert answer in str(error).replace(": “", " ")


def test_refused_address_of_a_channel_with_one_recipient_concerns_the_channel(smtp):
    smtp.answers["RCPT"] = "550 no such user"
    alone = channel("email")
    alone.addresses = "bob@example.org"
    with pytest.raises(DeliveryError) as caught:
        send(alone, message("bob@example.org"))
    assert (caught.value.permanent, caught.value.only_this) == (True, False)


def test_login_that_the_mail_server_lacks_is_a_permanent_error(smtp, settings):
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "vigie", "K4NARI"
    assert refused("email", "bob@example.org").permanent


def test_wrong_password_disables_the_channel_and_is_not_repeated(smtp, settings):
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "vigie", "K4NARI"
    smtp.answers |= {"EHLO": "250-sink\r\n250 AUTH LOGIN", "AUTH": "535 no"}
    error = refused("email", "bob@example.org")
    assert (error.permanent, error.only_this) == (True, False)
    assert "K4NARI" not in str(error)


@pytest.mark.parametrize("greeting", ["421 busy", "nonsense"])
def test_busy_mail_server_is_retried(smtp, greeting):
    smtp.greeting = greeting
    assert not refused("email", "bob@example.org").permanent


def test_unreachable_mail_server_is_retried(smtp, settings):
    settings.EMAIL_PORT = 1
    assert not refused("email", "bob@example.org").permanent


def test_dummy_mail_backend_is_a_permanent_error(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    error = refused("email", "bob@example.org")
    assert (error.permanent, error.only_this) == (True, False)
    assert "EMAIL_URL" in str(error)


def test_empty_text_is_allowed():
    send(channel("email"), message("bob@example.org", text="", url=""))
    assert outbox.outbox[0].body == "Late"


# --- Webhook ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hook():
    with Receiver() as hook:
        yield hook


def test_webhook_is_signed(hook):
    assert send(channel("webhook"), message(hook.url)) == hook.url
    ((_path, headers, body),) = hook.requests
    moment, digest = (part.partition("=")[2] for part in headers["X-Vigie-Signature"].split(","))
    assert digest == hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Vigie-Id"] == "0123abcd"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "id": "0123abcd",
        "at": "2026-03-10T10:02:00.000Z",
        "subject": "backup:7",
        "severity": "critical",
        "state": "opened",
        "title": "Late",
        "text": "Nothing <since> noon.",
        "url": "https://vigie.example.org/admin/",
    }


@pytest.mark.parametrize(
    ("status", "permanent", "only_this"),
    [(301, True, False), (401, True, False), (403, True, False), (404, True, False), (410, True, False),
     (400, True, False), (407, True, False), (451, True, False), (413, True, True), (422, True, True), (408, False, False), (429, False, False), (500, False, False), (503, False, False)],
)  # fmt: skip
def test_webhook_status_decides_between_retry_and_failure(hook, status, permanent, only_this):
    hook.script = [(status, "K4NARI")]
    error = refused("webhook", hook.url)
    assert (error.permanent, error.only_this) == (permanent, only_this)
    assert str(status) in str(error)
    assert "K4NARI" not in str(error)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_status_is_a_success(hook, status):
    hook.script = [(status, None)]
    assert send(channel("webhook"), message(hook.url)) == hook.url


def test_retry_after_of_a_webhook_is_used(hook):
    hook.script = [lambda handler, body: handler.answer(503, None, Retry_After="120")]
    assert refused("webhook", hook.url).retry_after == 120


def test_redirect_does_not_receive_the_message(hook):
    with Receiver() as other:
        hook.script = [lambda handler, body: handler.answer(308, None, Location=other.url)]
        assert refused("webhook", hook.url).permanent
        assert other.requests == []


@pytest.mark.parametrize("failing", [receiver.hang, receiver.drip])
def test_webhook_without_an_answer_in_time_is_retried(hook, monkeypatch, failing):
    monkeypatch.setattr(base, "SEND_SECONDS", 0.2)
    hook.script = [failing]
    assert not refused("webhook", hook.url).permanent


def test_webhook_answer_is_accepted_by_its_status_alone(hook, monkeypatch):
    monkeypatch.setattr(base, "SEND_SECONDS", 1.0)
    hook.script = [receiver.drip_the_body]
    assert send(channel("webhook"), message(hook.url)) == hook.url


def test_endless_answer_is_cut_off(hook):
    hook.script = [receiver.flood]
    assert send(channel("webhook"), message(hook.url)) == hook.url


def test_error_does_not_contain_the_address():
    assert "K4NARI" not in str(refused("webhook", "http://127.0.0.1:1/K4NARI"))
    assert "K4NARI" not in str(refused("webhook", "http://[K4NARI/"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("17", 17), (17, 17), ("-5", 0), ("1e9", 86_400), ("nan", None), ("inf", 86_400), ("soon", None), (None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ([], None)],
)  # fmt: skip
def test_retry_after_is_parsed_defensively(value, seconds):
    assert parse_retry_after(value) == seconds


# --- Apprise ---------------------------------------------------------------------------------------------------------


def test_apprise_sends_a_message(hook):
    url = hook.url.replace("http://", f"json://bob:{SECRET}@")
    send(channel("apprise", url), message(""))
    assert hook.bodies[0]["title"] == "Late"
    assert hook.bodies[0]["message"] == "Nothing <since> noon.\n\nhttps://vigie.example.org/admin/"


def test_apprise_does_not_retry_by_itself(hook, caplog, capfd):
    caplog.set_level(logging.DEBUG, logger="vigie")
    hook.usual = (500, None)
    url = hook.url.replace("http://", f"json://bob:{SECRET}@") + "/?retry=3"
    error = refused("apprise", url, secret=url)
    assert (error.permanent, error.only_this) == (False, False)
    assert len(hook.requests) == 1
    assert "K4NARI" not in str(error) + caplog.text + "".join(capfd.readouterr())


def test_unknown_apprise_url_is_a_permanent_error():
    assert refused("apprise", "", secret="nonsense://K4NARI").permanent


def test_failing_apprise_plugin_is_retried(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("K4NARI")

    monkeypatch.setattr(NotifyBase, "notify", broken)
    error = refused("apprise", "", secret="json://localhost")
    assert (error.permanent, "K4NARI" in str(error)) == (False, False)
    assert apprise.__version__


# --- All channels ----------------------------------------------------------------------------------------------------


def test_secret_under_a_lost_key_disables_the_channel_with_a_hint(settings):
    lost = channel("webhook")
    settings.ENCRYPTION_KEYS = ["another key, of thirty-two characters"]
    with pytest.raises(DeliveryError, match="Enter it again") as caught:
        send(lost, message("http://127.0.0.1:1"))
    assert caught.value.permanent


def test_unexpected_exception_concerns_one_message_and_contains_no_secret(caplog):
    def send():
        raise KeyError("K4NARI")

    with pytest.raises(DeliveryError) as caught:
        run_within(send, 5)
    assert (caught.value.permanent, caught.value.only_this) == (False, True)
    assert "KeyError" in str(caught.value)
    assert "K4NARI" not in str(caught.value) + caplog.text


def test_sending_ends_at_the_time_limit():
    forever = threading.Event()
    with pytest.raises(DeliveryError, match=r"not answer within 0\.05 seconds"):
        run_within(forever.wait, 0.05)
    forever.set()


@pytest.mark.parametrize(
    "text",
    [
        "https://api.telegram.org/bot123456:K4NARI-_abcdefghijklmnopqrstuvwxyz0/sendMessage",
        "bot123456%3AK4NARI-_abcdefghijklmnopqrstuvwxyz0",
        "('/bot123456789:K4NARI-_abcdefghijklmnopqrstuvwxyz0',)",
    ],
)
def test_bot_token_is_redacted_by_redact_tokens(text):
    assert "K4NARI" not in redact_tokens(text) + str(DeliveryError(text))
    assert redact_tokens("at 10:02:44, 12345:6 of 1234567:") == "at 10:02:44, 12345:6 of 1234567:"
