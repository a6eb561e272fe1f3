"""Writing messages: one per recipient, in the transaction of what they tell of."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from portal.models import OutboxMessage
from portal.notifications.known import active_channels
from portal.notifications.notices import Notice
from portal.tasks import enqueue

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
        if channel.tells_of(notice.severity)
        for recipient in channel.recipients
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
