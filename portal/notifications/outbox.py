"""Writing messages: one per recipient, in the transaction of what they tell of."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from portal.models import ChannelState, NotificationChannel, OutboxMessage
from portal.notifications.configuration import active_channels, recipients_of
from portal.notifications.notices import Notice
from portal.querysets import OutboxMessageQuerySet
from portal.work.queue import enqueue

DELIVER = "portal.deliver"


def notify(*notices: Notice) -> int:
    """Writes each notice to every recipient who is to know, unless told already. The number of messages written.

    It belongs into the transaction of what the notices tell of, and takes the same number of queries for one notice
    as for fifty. Nothing is sent before that transaction is committed.
    """
    now = timezone.now()
    channels = list(active_channels())
    messages = [
        OutboxMessage(channel=channel.key, recipient=recipient, created_at=now, **notice.fields())
        for notice in notices
        for channel in channels
        if is_for(channel, notice)
        for recipient in recipients_of(channel)
    ]
    if not messages:
        return 0
    with transaction.atomic():
        OutboxMessage.objects.bulk_create(messages, ignore_conflicts=True)
        keys = {message.dedupe_key for message in messages}
        # Whose message was told before keeps the moment of its own writing.
        written = list(
            OutboxMessage.objects.filter(dedupe_key__in=keys, created_at=now).values_list("channel", flat=True)
        )
        for channel in sorted(set(written)):
            enqueue(DELIVER, channel)
    return len(written)


def is_for(channel: NotificationChannel, notice: Notice) -> bool:
    return channel.key == notice.channel if notice.channel else notice.severity <= channel.min_severity


def try_now(chosen: OutboxMessageQuerySet) -> tuple[int, list[str]]:
    """Unsent messages of those chosen are sent at once, past any pause. How many, and the keys of their channels.

    Others that wait for the same recipients come before them where they are older, so these are not held either.
    """
    with transaction.atomic():
        unsent = chosen.exclude(status="sent").order_by()
        told = list(unsent.values_list("channel", "recipient").distinct())
        count = unsent.try_again()
        channels = sorted({channel for channel, _recipient in told})
        same = OutboxMessage.objects.filter(
            channel__in=channels, recipient__in={recipient for _channel, recipient in told}
        )
        same.waiting().exclude(next_attempt_at=None).update(next_attempt_at=None)
        ChannelState.objects.filter(channel__in=channels, disabled_at=None).update(next_attempt_at=None)
        for channel in channels:
            enqueue(DELIVER, channel)
    return count, channels
