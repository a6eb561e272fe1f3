"""Findings and metrics about channels and messages that reach no one."""

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.base.findings import Severity
from portal.desk.findings import disabled_channels, missing_channels, undelivered_messages
from portal.models import ChannelState, NotificationChannel, OutboxMessage
from portal.notifications.configuration import synchronise_environment_channels
from portal.status.metrics import render_metrics

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def channel():
    return NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")


@pytest.fixture
def telegram(settings):
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID = "123456:K4NARI", "-100"
    synchronise_environment_channels()


def write(channel, status="waiting", ago=timedelta(0)):
    moment = timezone.now() - ago
    finished = None if status == "waiting" else moment
    return OutboxMessage.objects.create(
        channel=channel, recipient="a", subject="s", severity=1, title="T", dedupe_key=str(OutboxMessage.objects.count()),
        status=status, created_at=moment, finished_at=finished,
    )  # fmt: skip


def found(source):
    return list(source(timezone.now()))


def test_missing_channel_is_a_finding():
    (finding,) = found(missing_channels)
    assert finding.severity == Severity.WARNING
    assert finding.url == "/admin/portal/notificationchannel/add/"


def test_channel_switched_off_counts_as_no_channel(channel):
    assert found(missing_channels) == []
    NotificationChannel.objects.update(is_active=False)
    assert len(found(missing_channels)) == 1


def test_telegram_by_environment_is_a_channel(telegram):
    assert found(missing_channels) == []


def test_token_without_chat_is_a_finding(channel, telegram, settings):
    settings.TELEGRAM_CHAT_ID = ""
    assert "TELEGRAM_CHAT_ID" in found(missing_channels)[0].text


def test_disabled_channel_is_a_finding_that_links_to_it(channel):
    since = timezone.now() - HOUR
    ChannelState.objects.create(channel=channel.key, disabled_at=since, disabled_reason="It answered 410")
    (finding,) = found(disabled_channels)
    assert (finding.severity, finding.since) == (Severity.CRITICAL, since)
    assert "“Team” is disabled" in finding.text
    assert "It answered 410. " in finding.text
    assert finding.url == f"/admin/portal/notificationchannel/{channel.pk}/change/"
    NotificationChannel.objects.update(is_active=False)
    assert found(disabled_channels) == []


def test_finding_about_disabled_telegram_names_its_settings(telegram):
    ChannelState.objects.create(channel="telegram", disabled_at=timezone.now(), disabled_reason="Unauthorized.")
    (finding,) = found(disabled_channels)
    assert "Unauthorized. Change TELEGRAM_BOT_TOKEN, TELEGRAM_CHAT_ID" in finding.text
    assert "K4NARI" not in finding.text


@pytest.mark.parametrize(
    ("status", "ago", "count"),
    [
        ("failed", HOUR, 1),
        ("failed", 25 * HOUR, 0),
        ("given_up", HOUR, 0),
        ("sent", HOUR, 0),
        ("waiting", HOUR - timedelta(minutes=1), 0),
        ("waiting", HOUR + timedelta(minutes=1), 1),
    ],
)
def test_undelivered_message_is_a_finding(channel, status, ago, count):
    write(channel.key, status, ago)
    findings = found(undelivered_messages)
    assert len(findings) == count
    if count:
        assert findings[0].url == f"/admin/portal/outboxmessage/?status={status}"
        assert findings[0].text.startswith("1 message ")


def test_metrics_count_waiting_messages_and_disabled_channels(channel, telegram):
    write(channel.key, ago=HOUR)
    write(channel.key)
    write("channel:999", ago=HOUR)
    write(channel.key, "sent")
    ChannelState.objects.create(channel="telegram", disabled_at=timezone.now())
    lines = dict(line.rsplit(" ", 1) for line in render_metrics(timezone.now()).decode().splitlines() if line[0] != "#")
    assert float(lines[f'vigie_outbox_waiting{{channel="{channel.key}"}}']) == 2
    assert float(lines['vigie_outbox_waiting{channel="telegram"}']) == 0
    assert float(lines['vigie_outbox_waiting{channel="channel:999"}']) == 1
    assert 3599 < float(lines[f'vigie_outbox_oldest_seconds{{channel="{channel.key}"}}']) < 3700
    assert float(lines['vigie_channel_disabled{channel="telegram"}']) == 1
    assert float(lines[f'vigie_channel_disabled{{channel="{channel.key}"}}']) == 0


def test_landing_page_shows_a_disabled_channel(admin_client, telegram):
    ChannelState.objects.create(channel="telegram", disabled_at=timezone.now(), disabled_reason="Unauthorized.")
    content = admin_client.get("/admin/").content.decode()
    assert "Telegram is disabled" in content
    assert "K4NARI" not in content


def test_guardian_mail_does_not_count_as_a_channel_for_alerts(settings):
    settings.GUARDIAN_RECIPIENTS = ["g@example.org"]
    synchronise_environment_channels()
    assert "no active notification channel" in found(missing_channels)[0].text


def test_finding_about_disabled_guardian_mail_names_its_settings(settings):
    settings.GUARDIAN_RECIPIENTS = ["g@example.org"]
    synchronise_environment_channels()
    ChannelState.objects.create(channel="guardian", disabled_at=timezone.now(), disabled_reason="535 no")
    (finding,) = found(disabled_channels)
    assert "535 no. Change GUARDIAN_RECIPIENTS, EMAIL_URL" in finding.text
