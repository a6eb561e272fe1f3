"""Checks of doctor that connect to other servers."""

import pytest

from portal.tests.helpers.doctor import rows_of
from portal.tests.helpers.hostile_servers import Authority, Server, answer, redirects, says
from portal.tests.helpers.receiver import TOKEN, Receiver, refusal
from portal.tests.helpers.smtp_sink import SmtpSink

SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.mark.parametrize(
    ("answers", "sender", "status"),
    [
        ({}, "vigie@example.org", "ok"),
        ({}, "vigie@localhost", "warning"),
        ({"AUTH": "535 5.7.8 bad credentials"}, "vigie@example.org", "failed"),
    ],
)
def test_mail_server_is_greeted_and_asked_for_a_login(settings, answers, sender, status):
    with SmtpSink() as sink:
        sink.answers = {"EHLO": "250-sink\r\n250 AUTH PLAIN", "AUTH": "235 ok"} | answers
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = SMTP, "127.0.0.1", sink.port
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "vigie", "hunter22"
        settings.DEFAULT_FROM_EMAIL = sender
        row = rows_of("mail")["mail"]
    assert (row.status, sink.mails) == (status, [])
    assert "hunter22" not in row.detail + row.hint


@pytest.mark.parametrize(
    ("reply", "status"),
    [((200, {"ok": True, "result": {"username": "vigie_bot"}}), "ok"), (refusal(401, "Unauthorized"), "failed")],
)
def test_telegram_is_asked_for_the_bot(settings, reply, status):
    with Receiver() as api:
        api.usual = reply
        settings.TELEGRAM_API_BASE, settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = api.url, TOKEN, "1"
        row = rows_of("telegram")["telegram"]
    assert row.status == status
    assert [path for path, _headers, _body in api.requests] == [f"/bot{TOKEN}/getMe"]
    assert TOKEN not in row.detail + row.hint


@pytest.mark.parametrize(
    ("days", "is_self_signed", "status"),
    [(60, False, "ok"), (5, False, "warning"), (-1, False, "failed"), (60, True, "failed")],
)
def test_certificate_of_the_portal_is_verified(settings, monkeypatch, tmp_path, days, is_self_signed, status):
    authority = Authority(tmp_path)
    monkeypatch.setattr("portal.egress.call.shared_context", lambda: authority.trusting)
    with Server(says(answer()), context=authority.server(days=days, is_self_signed=is_self_signed)) as server:
        settings.PORTAL_URL = server.url
        assert rows_of("certificate")["certificate"].status == status


@pytest.mark.parametrize(
    ("behave", "status"),
    [
        (says(answer(b"sign in")), "ok"),
        (redirects("/accounts/login/"), "failed"),
        (says(answer(b"", "400 Bad Request")), "failed"),
        (says(answer(b"", "502 Bad Gateway")), "failed"),
    ],
    ids=["page", "redirect to itself", "other host name", "no portal"],
)
def test_public_address_is_opened(settings, behave, status):
    with Server(behave) as server:
        settings.PORTAL_URL = server.url
        assert rows_of("public_address")["public_address"].status == status
