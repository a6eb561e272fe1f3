"""Telegram against a Bot API on a local socket."""

import logging
import traceback
from datetime import UTC, datetime

import pytest

from portal.base.logs import JsonFormatter
from portal.notifications.channels import base, send
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.channels.telegram import count_utf16_units, format_text
from portal.notifications.configuration import ENVIRONMENT_CHANNELS, TELEGRAM
from portal.tests.helpers import receiver
from portal.tests.helpers.receiver import BotApi, refusal

TOKEN = "123456:K4NARI-_abcdefghijklmnopqrstuvwxyz0"
CHAT = "-100"


@pytest.fixture
def api(settings, monkeypatch):
    monkeypatch.setattr(base, "SEND_SECONDS", 5.0)
    with BotApi(TOKEN) as api:
        settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID, settings.TELEGRAM_API_BASE = TOKEN, CHAT, api.url
        yield api


def telegram_channel():
    return ENVIRONMENT_CHANNELS[TELEGRAM].build_row()


def message(**fields):
    return RenderedMessage(
        **{
            "id": "1",
            "address": CHAT,
            "subject": "backup:7",
            "severity": 1,
            "state": "note",
            "title": "Late",
            "text": "Nothing since noon.",
            "url": "",
            "at": datetime(2026, 3, 10, 10, 2, tzinfo=UTC),
        }
        | fields
    )


def refused(**fields):
    with pytest.raises(DeliveryError) as caught:
        send(telegram_channel(), message(**fields))
    return caught.value


def test_message_arrives_with_its_link(api):
    assert send(telegram_channel(), message(url="https://vigie.example.org/admin/")) == CHAT
    assert api.texts == ["<b>🔴 Late</b>\n\nNothing since noon.\n\nhttps://vigie.example.org/admin/"]
    assert (api.accepted[0]["chat_id"], api.accepted[0]["parse_mode"]) == (CHAT, "HTML")


@pytest.mark.parametrize(
    ("fields", "sign"), [({"severity": 2}, "🟠"), ({"severity": 3}, "🔵"), ({"state": "closed"}, "✅")]
)
def test_message_starts_with_the_sign_of_its_severity(api, fields, sign):
    send(telegram_channel(), message(**fields))
    assert api.texts[0].startswith(f"<b>{sign} ")


def test_markup_in_a_text_is_escaped(api):
    send(telegram_channel(), message(title="<b>&", text='</m><a href="x">&amp;'))
    assert api.texts[0].startswith("<b>🔴 &lt;b&gt;&amp;</b>")
    assert len(api.requests) == 1


@pytest.mark.parametrize("letter", ["x", "é", "😀", "&", "<"])
def test_long_text_is_truncated_before_markup(api, letter):
    send(
        telegram_channel(), message(title="T" * 300, text=letter * 20_000, url="https://vigie.example.org/" + "a" * 500)
    )
    assert len(api.requests) == 1
    assert api.texts[0].endswith("a" * 500)
    plain = format_text(message(text=letter * 20_000), with_markup=False)
    assert 4090 <= count_utf16_units(plain) <= 4096


def test_unparsable_markup_is_sent_again_as_plain_text(api):
    api.script = [refusal(400, "Bad Request: can't parse entities: byte offset 7")]
    send(telegram_channel(), message(text="a < b"))
    assert api.texts == ["🔴 Late\n\na < b"]
    assert "parse_mode" not in api.accepted[0]


def test_message_refused_as_plain_text_fails_alone(api):
    api.script = [refusal(400, "Bad Request: can't parse entities")] * 2
    error = refused()
    assert (error.permanent, error.only_this) == (True, True)
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("answer", "permanent", "only_this", "retry_after"),
    [
        (refusal(400, "Bad Request: chat not found"), True, False, None),
        (refusal(400, "Bad Request: chat_id is empty"), True, False, None),
        (refusal(400, "Bad Request: message thread not found"), True, False, None),
        (refusal(400, "Bad Request"), True, False, None),
        (refusal(400, "Bad Request: message is too long"), True, True, None),
        (refusal(400, "Bad Request: MESSAGE_TOO_LONG"), True, True, None),
        (refusal(400, "Bad Request: message text is empty"), True, True, None),
        (refusal(400, "Bad Request: MESSAGE_EMPTY"), True, True, None),
        (refusal(400, "Bad Request: text must be non-empty"), True, True, None),
        (refusal(413, "Request Entity Too Large"), True, False, None),
        (refusal(401, "Unauthorized"), True, False, None),
        (refusal(403, "Forbidden: bot was kicked from the group chat"), True, False, None),
        (refusal(404, "Not Found"), True, False, None),
        (refusal(429, "Too Many Requests: retry after 17", retry_after=17), False, False, 17),
        (lambda handler, body: handler.answer(429, None, Retry_After="9"), False, False, 9),
        (refusal(500, "Internal Server Error"), False, False, None),
        ((502, "<html>Bad gateway</html>"), False, False, None),
        ((200, "<html>Please log in to the hotel’s network</html>"), False, False, None),
        ((302, None), True, False, None),
    ],
)
def test_telegram_status_decides_between_retry_and_failure(api, answer, permanent, only_this, retry_after):
    api.script = [answer]
    error = refused()
    assert (error.permanent, error.only_this, error.retry_after) == (permanent, only_this, retry_after)


def test_redirect_of_a_webhook_is_not_followed(api):
    api.script = [lambda handler, body: handler.answer(307, None, Location=f"{api.url}/bot{TOKEN}/sendMessage")]
    assert "307" in str(refused())
    assert len(api.requests) == 1


def test_moved_group_is_followed(api):
    api.script = [refusal(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1001234)]
    assert send(telegram_channel(), message()) == "-1001234"
    assert api.accepted[0]["chat_id"] == "-1001234"


def test_topic_of_a_group_is_addressed_by_its_thread(api):
    assert send(telegram_channel(), message(address="-100/7")) == "-100/7"
    assert (api.accepted[0]["chat_id"], api.accepted[0]["message_thread_id"]) == ("-100", 7)


def test_topic_of_a_group_that_moved_keeps_its_thread(api):
    api.script = [refusal(400, "upgraded", migrate_to_chat_id=-1001234)]
    assert send(telegram_channel(), message(address="-100/7")) == "-1001234/7"
    assert (api.accepted[0]["chat_id"], api.accepted[0]["message_thread_id"]) == ("-1001234", 7)


def test_group_that_moves_in_a_circle_is_an_error(api):
    api.script = [refusal(400, "upgraded", migrate_to_chat_id=number) for number in (-1, -2, -3, -4, -5)]
    assert refused().permanent
    assert len(api.requests) == 3


@pytest.mark.parametrize("failing", [receiver.hang, receiver.drip, receiver.drip_the_body])
def test_telegram_without_an_answer_in_time_is_retried(api, monkeypatch, failing):
    monkeypatch.setattr(base, "SEND_SECONDS", 0.2)
    api.script = [failing]
    error = refused()
    assert (error.permanent, error.only_this) == (False, False)


@pytest.mark.parametrize("failing", [receiver.reset, receiver.lose_the_reply, receiver.flood])
def test_broken_answer_is_retried(api, failing):
    api.script = [failing]
    assert not refused().permanent


def test_refused_connection_is_retried(api, settings):
    settings.TELEGRAM_API_BASE = "http://127.0.0.1:1"
    assert not refused().permanent


@pytest.mark.parametrize("failing", [receiver.reset, receiver.hang, refusal(401, f"{TOKEN} is no token"), (500, None)])
def test_token_is_in_no_error_traceback_or_log_line(api, monkeypatch, caplog, failing):
    monkeypatch.setattr(base, "SEND_SECONDS", 0.5)
    caplog.set_level(logging.DEBUG)
    api.script = [failing] * 3
    error = refused()
    assert error.__suppress_context__ or error.__context__ is None
    errors = "".join(traceback.format_exception(error)) + repr(error) + repr(telegram_channel())
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert "K4NARI" in api.requests[0][0]
    assert "K4NARI" not in errors + "".join(lines)


def test_token_of_another_form_is_not_repeated(api, settings):
    settings.TELEGRAM_BOT_TOKEN = "short-K4NARI"
    api.script = [refusal(401, "short-K4NARI is no token")]
    assert "K4NARI" not in str(refused())
