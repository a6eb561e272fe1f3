"""The outbox: write one message per recipient, in the transaction of the change that it reports."""

from django.db import transaction
from django.utils import timezone

from portal.models import ChannelState, NotificationChannel, OutboxMessage
from portal.notifications.configuration import active_channels, recipients_of
from portal.notifications.notices import Notice
from portal.querysets import OutboxMessageQuerySet
from portal.work.queue import enqueue

DELIVER = "portal.deliver"


def notify(*notices: Notice) -> int:
    """Write a message per notice and recipient, skipping duplicates. Return the number of messages written.

    Call it in the transaction of the change that the notices report: nothing is sent before it is committed. The
    number of queries does not depend on the number of notices.
    """
    now = timezone.now()
    channels = list(active_channels())
    messages = [
        OutboxMessage(channel=channel.key, recipient=recipient, created_at=now, **notice.fields())
        for notice in notices
        for channel in channels
        if is_addressed_to(channel, notice)
        for recipient in recipients_of(channel)
    ]
    if not messages:
        return 0
    with transaction.atomic():
        OutboxMessage.objects.bulk_create(messages, ignore_conflicts=True)
        keys = {message.dedupe_key for message in messages}
        # Duplicates kept the time of their first message.
        written = list(
            OutboxMessage.objects.filter(dedupe_key__in=keys, created_at=now).values_list("channel", flat=True)
        )
        for channel in sorted(set(written)):
            enqueue(DELIVER, channel)
    return len(written)


def is_addressed_to(channel: NotificationChannel, notice: Notice) -> bool:
    return channel.key == notice.channel if notice.channel else notice.severity <= channel.min_severity


def retry_messages(chosen: OutboxMessageQuerySet) -> tuple[int, list[str]]:
    """Send the unsent ones of the chosen messages at once, past any pause. Return their number and channel keys.

    Older messages for the same recipients must be sent first, so they are no longer held either.
    """
    with transaction.atomic():
        unsent = chosen.exclude(status="sent").order_by()
        addressed = list(unsent.values_list("channel", "recipient").distinct())
        count = unsent.try_again()
        channels = sorted({channel for channel, _recipient in addressed})
        same_recipients = OutboxMessage.objects.filter(
            channel__in=channels, recipient__in={recipient for _channel, recipient in addressed}
        )
        same_recipients.waiting().exclude(next_attempt_at=None).update(next_attempt_at=None)
        ChannelState.objects.filter(channel__in=channels, disabled_at=None).update(next_attempt_at=None)
        for channel in channels:
            enqueue(DELIVER, channel)
    return count, channels
