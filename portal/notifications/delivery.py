"""Delivering: claim the channel's turn, send, then mark. What is killed in between is sent again, never lost.

Rows are read and written in short transactions; while something is sent there is none.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
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
from portal.notifications.channels import apprise, send
from portal.notifications.channels.base import DeliveryError, Outgoing
from portal.notifications.configuration import Kind, active_channels, find_channel, recipients_of
from portal.notifications.notices import in_portal_language
from portal.notifications.outbox import DELIVER
from portal.notifications.plan import RATE_PERIOD, Parcel, plan
from portal.notifications.states import Turn, TurnLost, begin, pause, subject
from portal.querysets import OutboxMessageQuerySet
from portal.work.queue import enqueue

log = logging.getLogger("vigie.notifications")

# Nothing is begun after this, so that the last sending ends well before the cluster would end the task.
SECONDS_PER_TURN = 60.0
MESSAGES_AT_A_TIME = 2_000
UNTIL_THERE_IS_ROOM = timedelta(seconds=10)


def deliver(key: str) -> None:
    """Sends what waits for the channel, as far as the time of one turn reaches; then the rest is handed on."""
    channel = find_channel(key)
    turn = begin(channel) if channel is not None else None
    if turn is None:
        return
    deadline = time.monotonic() + SECONDS_PER_TURN
    try:
        with in_portal_language():
            readdress(turn.channel, timezone.now())
            while work(turn, deadline):
                pass
    except TurnLost as lost:
        log.warning("%s", lost)
    finally:
        turn.end()
    if time.monotonic() >= deadline and messages_of(turn.channel).due(timezone.now()).exists():
        enqueue(DELIVER, key)


def work(turn: Turn, deadline: float) -> bool:
    """Sends what is due now. Whether to look again: there was something, and the channel works. Raises TurnLost."""
    parcels, failing = parcels_due(turn.channel, timezone.now()), set()
    for parcel in parcels:
        recipient = parcel.first.recipient
        if time.monotonic() >= deadline:
            return False
        if recipient in failing:
            continue
        try:
            address = send(turn.channel, outgoing(parcel, turn.moved.get(recipient, recipient)))
        except DeliveryError as error:
            if not note_failure(turn, parcel, error):
                return False
            failing.add(recipient)
        else:
            note_success(turn, parcel, address)
    return bool(parcels)


def messages_of(channel: NotificationChannel) -> OutboxMessageQuerySet:
    return OutboxMessage.objects.filter(channel=channel.key)


# --- What to send ----------------------------------------------------------------------------------------------------


def readdress(channel: NotificationChannel, now: datetime) -> None:
    """What waits for someone who is no recipient any more: a channel's only recipient gets it, else nobody does.

    So a chat or an address that was mended gets what waited, and who was taken off a list gets nothing.
    """
    messages, recipients = messages_of(channel), recipients_of(channel)
    gone = messages.recipients_waiting() - set(recipients)
    if not gone:
        return
    strays = messages.waiting().filter(recipient__in=gone)
    if len(recipients) == 1:
        heir = recipients[0]
        told = messages.filter(recipient=heir, dedupe_key=OuterRef("dedupe_key"))
        # Of one thing told to several the heir gets one message: the others would break its being told once.
        firsts = strays.exclude(Exists(told)).order_by().values("dedupe_key").annotate(first=Min("pk")).values("first")
        strays.filter(pk__in=list(firsts.values_list("first", flat=True))).update(recipient=heir)
    strays.finish("given_up", now, _("This is no recipient of the channel any more."))


def parcels_due(channel: NotificationChannel, now: datetime) -> list[Parcel]:
    """In the order of their first messages. A recipient whose oldest message is held gets none of the later ones."""
    messages = messages_of(channel)
    held = messages.held(now)
    for recipient, until in held.items():
        messages.filter(recipient=recipient, next_attempt_at=None).hold(until)
    waiting = messages.waiting().exclude(recipient__in=list(held)).order_by("pk")
    lately = messages.parcels_since(now - RATE_PERIOD)
    planned: list[Parcel] = []
    for recipient, own in by_recipient(waiting[:MESSAGES_AT_A_TIME]):
        parcels = plan(own, now, lately.get(recipient, 0))
        if not parcels:
            messages.filter(recipient=recipient).hold(now + UNTIL_THERE_IS_ROOM)
        planned += parcels
    return sorted(planned, key=lambda parcel: parcel.first.pk)


def by_recipient(waiting: OutboxMessageQuerySet) -> Iterator[tuple[str, list[OutboxMessage]]]:
    found: defaultdict[str, list[OutboxMessage]] = defaultdict(list)
    for message in waiting:
        found[message.recipient].append(message)
    yield from found.items()


def outgoing(parcel: Parcel, address: str) -> Outgoing:
    numbers = ",".join(str(message.pk) for message in parcel.messages)
    return Outgoing(
        id=salted_hmac("vigie.message", numbers, algorithm="sha256").hexdigest()[:32],
        address=address,
        subject=parcel.first.subject,
        severity=parcel.severity,
        state=parcel.state,
        title=parcel.title,
        text=parcel.text,
        url=f"{settings.PORTAL_URL.rstrip('/')}{parcel.path}" if parcel.path else "",
        at=parcel.first.created_at,
        html=parcel.html,
    )


# --- How it went -----------------------------------------------------------------------------------------------------


def rows_of(parcel: Parcel) -> OutboxMessageQuerySet:
    return OutboxMessage.objects.filter(pk__in=[message.pk for message in parcel.messages])


def note_success(turn: Turn, parcel: Parcel, address: str) -> None:
    """What was sent is marked even by whom was overtaken meanwhile: it was sent. Raises TurnLost after that."""
    now = timezone.now()
    rows_of(parcel).finish("sent", now, attempts=1)
    if parcel.html:
        rows_of(parcel).update(html="")
    turn.failures = 0
    if address != turn.moved.get(parcel.first.recipient, parcel.first.recipient):
        turn.moved[parcel.first.recipient] = address
    turn.renew(failures=0, next_attempt_at=None, last_error="", last_success_at=now, moved=turn.moved)


def note_failure(turn: Turn, parcel: Parcel, error: DeliveryError) -> bool:
    """Whether the channel can go on with others. Raises TurnLost."""
    with transaction.atomic():
        if error.only_this:
            turn.renew()
            note_refusal(turn, parcel, error)
            return True
        rows_of(parcel).waiting().update(attempts=F("attempts") + 1, error=str(error))
        if error.permanent:
            disable(turn, error)
        else:
            failures = turn.failures + 1
            until = timezone.now() + pause(failures, error.retry_after)
            turn.renew(failures=failures, next_attempt_at=until, last_error=str(error))
    log.warning("%s failed: %s", turn.channel.key, error)
    return False


def note_refusal(turn: Turn, parcel: Parcel, error: DeliveryError) -> None:
    """The message failed for good, or its recipient's messages wait."""
    now, rows = timezone.now(), rows_of(parcel)
    if error.permanent:
        rows.finish("failed", now, str(error), attempts=1)
        return
    rows.waiting().update(attempts=F("attempts") + 1, error=str(error))
    until = now + pause(parcel.first.attempts + 1, error.retry_after)
    messages_of(turn.channel).filter(recipient=parcel.first.recipient).hold(until)


def disable(turn: Turn, error: DeliveryError) -> None:
    now = timezone.now()
    turn.renew(failures=turn.failures + 1, disabled_at=now, disabled_reason=str(error), last_error=str(error))
    audit.record_event("channel.disabled", subject(turn.channel.key), actor="system", after={"reason": str(error)})


def disable_unusable_channels() -> None:
    """Disable channels whose Apprise URL is refused since an upgrade: the next alert is too late to learn of it."""
    for channel in active_channels():
        if channel.kind != Kind.APPRISE:
            continue
        try:
            with in_portal_language(), suppress(Unreadable):
                apprise.service_of(channel)
        except DeliveryError as error:
            turn = begin(channel)
            if turn is not None:
                with suppress(TurnLost):  # somebody is changing the channel
                    disable(turn, error)
                turn.end()
