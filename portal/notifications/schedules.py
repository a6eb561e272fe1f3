"""Background work for messages: delivery, a pulse that enqueues due deliveries every second, and retention."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction

from portal.models import ChannelState, OutboxMessage
from portal.notifications.configuration import active_channels
from portal.notifications.delivery import deliver
from portal.notifications.outbox import DELIVER
from portal.notifications.states import synchronise_states
from portal.work.pulse import Pulse, pulses
from portal.work.queue import enqueue, task
from portal.work.retention import Retention, retentions

# How long an enqueued delivery may wait for a worker before another is enqueued.
ASK_AGAIN = timedelta(seconds=30)

task(DELIVER, is_routine=True)(deliver)


def enqueue_due_deliveries(now: datetime) -> None:
    """Enqueue a delivery for each channel that can send something now."""
    keys = synchronise_states(active_channels())
    ready = ChannelState.objects.ready(now).filter(channel__in=keys)
    for channel in ready.with_due_messages(now, OutboxMessage.objects.all()).values_list("channel", flat=True):
        with transaction.atomic():
            if ChannelState.objects.filter(channel=channel).ask(now, ASK_AGAIN):
                enqueue(DELIVER, channel)


def outdated_messages(now: datetime) -> models.QuerySet[Any]:
    """Return finished messages past their retention; waiting ones stay."""
    return OutboxMessage.objects.filter(finished_at__lt=now - timedelta(days=settings.NOTIFICATION_RETENTION_DAYS))


pulses.register(Pulse("portal.messages", enqueue_due_deliveries))
retentions.register(Retention("messages", outdated_messages))
