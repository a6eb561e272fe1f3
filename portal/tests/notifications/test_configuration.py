"""Channels that settings of the environment define, and their rows."""

import pytest

from portal.models import AuditEvent, NotificationChannel, OutboxMessage
from portal.notifications import Notice, Severity, notify
from portal.notifications.configuration import (
    active_channels,
    digest_of,
    find_channel,
    recipients_of,
    secret_of,
    synchronise_environment_channels,
)

pytestmark = pytest.mark.django_db
TOKEN = "123456:K4NARI-_abcdefghijklmnopqrstuvwxyz0"


@pytest.fixture
def telegram(settings):
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = TOKEN, "-100"
    synchronise_environment_channels()
    return NotificationChannel.objects.get()


def test_environment_channel_gets_one_row(telegram, settings):
    settings.GUARDIAN_RECIPIENTS = ["g@example.org"]
    synchronise_environment_channels()
    synchronise_environment_channels()
    assert [channel.key for channel in active_channels()] == ["telegram", "guardian"]
    events = AuditEvent.objects.filter(action="channel.added", actor="system").order_by("pk")
    assert [event.subject for event in events] == ["channel:telegram", "channel:guardian"]


def test_row_contains_neither_the_token_nor_the_chat(telegram):
    values = NotificationChannel.objects.values_list().get()
    assert not {TOKEN, "-100"} & set(values)
    assert (recipients_of(telegram), secret_of(telegram)) == (("-100",), TOKEN)


def test_changed_setting_changes_the_digest_without_the_row(telegram, settings):
    before = digest_of(telegram)
    settings.TELEGRAM_CHAT_ID = "-200"
    assert digest_of(telegram) != before


def test_row_is_deleted_with_its_setting_and_waiting_messages_stay(telegram, settings):
    notify(Notice("backup:7", Severity.CRITICAL, "T", "X", "key"))
    settings.TELEGRAM_CHAT_ID = ""
    synchronise_environment_channels()
    assert not NotificationChannel.objects.exists()
    assert OutboxMessage.objects.get().status == "waiting"
    assert AuditEvent.objects.get(action="channel.deleted").subject == "channel:telegram"


def test_row_whose_settings_a_process_lacks_is_not_used(telegram, settings):
    settings.TELEGRAM_BOT_TOKEN = ""
    assert find_channel("telegram") is None


def test_row_is_numbered_if_an_operator_uses_its_name(settings):
    NotificationChannel.objects.create(name="Telegram", kind="telegram", addresses="-1")
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = TOKEN, "-100"
    synchronise_environment_channels()
    assert find_channel("telegram").name == "Telegram 2"


def test_name_is_in_the_language_of_the_portal(settings):
    settings.LANGUAGE_CODE = "fr"
    settings.GUARDIAN_RECIPIENTS = ["g@example.org"]
    synchronise_environment_channels()
    assert find_channel("guardian").name == "Rapport d’utilisation par e-mail"


def test_ordinary_channels_are_left_alone(settings):
    channel = NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    synchronise_environment_channels()
    assert list(active_channels()) == [channel]
