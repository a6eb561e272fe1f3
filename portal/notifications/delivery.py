"""Deliver messages: acquire the channel's delivery lease, send, then mark as sent. Delivery is at least once.

A process that is killed between sending and marking leaves messages that are sent again. Rows are read and written in
short transactions, and no transaction is open while something is sent.
"""

import logging
import time
from collections import defaultdict
from contextlib import suppress
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from portal import audit
from portal.base.encryption import Unreadable
from portal.models import NotificationChannel, OutboxMessage
from portal.notifications.batches import RATE_PERIOD, MessageBatch, plan_batches
from portal.notifications.channels import apprise, send
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.configuration import Kind, active_channels, find_channel, recipients_of
from portal.notifications.notices import in_portal_language
from portal.notifications.outbox import DELIVER
from portal.notifications.states import DeliveryLease, DeliveryLeaseLost, acquire_delivery_lease, audit_subject, backoff
from portal.querysets import OutboxMessageQuerySet
from portal.work.queue import enqueue

log = logging.getLogger("vigie.notifications")

# No sending starts after this, so that the last one ends well before the cluster would kill the task.
DELIVERY_SECONDS = 60.0
MAX_MESSAGES_READ = 2_000
RATE_LIMIT_PAUSE = timedelta(seconds=10)


def deliver(key: str) -> None:
    """Send the channel's due messages for up to DELIVERY_SECONDS, then enqueue another delivery for the rest."""
    channel = find_channel(key)
    lease = acquire_delivery_lease(channel) if channel is not None else None
    if lease is None:
        return
    deadline = time.monotonic() + DELIVERY_SECONDS
    try:
        with in_portal_language():
            readdress_messages(lease.channel, timezone.now())
            while deliver_due_batches(lease, deadline):
                pass
    except DeliveryLeaseLost as lost:
        log.warning("%s", lost)
    finally:
        lease.release()
    if time.monotonic() >= deadline and messages_for(lease.channel).due(timezone.now()).exists():
        enqueue(DELIVER, key)


def deliver_due_batches(lease: DeliveryLease, deadline: float) -> bool:
    """Send the batches that are due. Return True if there were any and the channel works, so there may be more.

    Raises DeliveryLeaseLost.
    """
    batches, failing = plan_due_batches(lease.channel, timezone.now()), set()
    for batch in batches:
        recipient = batch.first.recipient
        if time.monotonic() >= deadline:
            return False
        if recipient in failing:
            continue
        try:
            address = send(lease.channel, render_batch(batch, lease.moved.get(recipient, recipient)))
        except DeliveryError as error:
            if not record_failure(lease, batch, error):
                return False
            failing.add(recipient)
        else:
            record_success(lease, batch, address)
    return bool(batches)


def messages_for(channel: NotificationChannel) -> OutboxMessageQuerySet:
    return OutboxMessage.objects.filter(channel=channel.key)


# --- What to send ----------------------------------------------------------------------------------------------------


def readdress_messages(channel: NotificationChannel, now: datetime) -> None:
    """Re-address messages of former recipients to the channel's only recipient; give them up if it has several.

    A corrected chat or address gets what was waiting, and someone taken off a list gets nothing.
    """
    messages, recipients = messages_for(channel), recipients_of(channel)
    former = messages.recipients_waiting() - set(recipients)
    if not former:
        return
    strays = messages.waiting().filter(recipient__in=former)
    if len(recipients) == 1:
        successor = recipients[0]
        notified = messages.filter(recipient=successor, dedupe_key=OuterRef("dedupe_key"))
        # Re-address one copy only: dedupe key and recipient are unique together.
        firsts = (
            strays.exclude(Exists(notified)).order_by().values("dedupe_key").annotate(first=Min("pk")).values("first")
        )
        strays.filter(pk__in=list(firsts.values_list("first", flat=True))).update(recipient=successor)
    strays.finish("given_up", now, _("Recipient was removed from this channel."))


def plan_due_batches(channel: NotificationChannel, now: datetime) -> list[MessageBatch]:
    """Return the batches to send now, ordered by their first messages. A held message holds later ones."""
    messages = messages_for(channel)
    held = messages.held(now)
    for recipient, until in held.items():
        messages.filter(recipient=recipient, next_attempt_at=None).hold(until)
    waiting = messages.waiting().exclude(recipient__in=list(held)).order_by("pk")
    recently = messages.batches_since(now - RATE_PERIOD)
    planned: list[MessageBatch] = []
    by_recipient: defaultdict[str, list[OutboxMessage]] = defaultdict(list)
    for message in waiting[:MAX_MESSAGES_READ]:
        by_recipient[message.recipient].append(message)
    for recipient, own in by_recipient.items():
        batches = plan_batches(own, now, recently.get(recipient, 0))
        if not batches:
            messages.filter(recipient=recipient).hold(now + RATE_LIMIT_PAUSE)
        planned += batches
    return sorted(planned, key=lambda batch: batch.first.pk)


def render_batch(batch: MessageBatch, address: str) -> RenderedMessage:
    numbers = ",".join(str(message.pk) for message in batch.messages)
    return RenderedMessage(
        id=salted_hmac("vigie.message", numbers, algorithm="sha256").hexdigest()[:32],
        address=address,
        subject=batch.first.subject,
        severity=batch.severity,
        state=batch.state,
        title=batch.title,
        text=batch.text,
        url=f"{settings.PORTAL_URL.rstrip('/')}{batch.path}" if batch.path else "",
        at=batch.first.created_at,
        html=batch.html,
    )


# --- Results ---------------------------------------------------------------------------------------------------------


def stored_messages(batch: MessageBatch) -> OutboxMessageQuerySet:
    return OutboxMessage.objects.filter(pk__in=[message.pk for message in batch.messages])


def record_success(lease: DeliveryLease, batch: MessageBatch, address: str) -> None:
    """Mark the batch as sent, even if the lease was lost meanwhile; then raises DeliveryLeaseLost."""
    now = timezone.now()
    stored_messages(batch).finish("sent", now, attempts=1)
    if batch.html:
        stored_messages(batch).update(html="")
    lease.failures = 0
    if address != lease.moved.get(batch.first.recipient, batch.first.recipient):
        lease.moved[batch.first.recipient] = address
    lease.renew(failures=0, next_attempt_at=None, last_error="", last_success_at=now, moved=lease.moved)


def record_failure(lease: DeliveryLease, batch: MessageBatch, error: DeliveryError) -> bool:
    """Pause or disable the channel, or hold the recipient. Return True if the channel can send other batches.

    Raises DeliveryLeaseLost.
    """
    with transaction.atomic():
        if error.only_this:
            lease.renew()
            record_refusal(lease, batch, error)
            return True
        stored_messages(batch).waiting().update(attempts=F("attempts") + 1, error=str(error))
        if error.permanent:
            disable_channel(lease, error)
        else:
            failures = lease.failures + 1
            until = timezone.now() + backoff(failures, error.retry_after)
            lease.renew(failures=failures, next_attempt_at=until, last_error=str(error))
    log.warning("%s failed: %s", lease.channel.key, error)
    return False


def record_refusal(lease: DeliveryLease, batch: MessageBatch, error: DeliveryError) -> None:
    """Mark the batch as failed if the error is permanent; otherwise hold the recipient's messages."""
    now, rows = timezone.now(), stored_messages(batch)
    if error.permanent:
        rows.finish("failed", now, str(error), attempts=1)
        return
    rows.waiting().update(attempts=F("attempts") + 1, error=str(error))
    until = now + backoff(batch.first.attempts + 1, error.retry_after)
    messages_for(lease.channel).filter(recipient=batch.first.recipient).hold(until)


def disable_channel(lease: DeliveryLease, error: DeliveryError) -> None:
    now = timezone.now()
    lease.renew(failures=lease.failures + 1, disabled_at=now, disabled_reason=str(error), last_error=str(error))
    audit.record_event(
        "channel.disabled", audit_subject(lease.channel.key), actor="system", after={"reason": str(error)}
    )


def disable_unusable_channels() -> None:
    """Disable channels whose Apprise URL this version refuses, so that operators learn it before the next alert."""
    for channel in active_channels():
        if channel.kind != Kind.APPRISE:
            continue
        try:
            with in_portal_language(), suppress(Unreadable):
                apprise.create_service(channel)
        except DeliveryError as error:
            lease = acquire_delivery_lease(channel)
            if lease is not None:
                with suppress(DeliveryLeaseLost):  # someone is changing the channel
                    disable_channel(lease, error)
                lease.release()
