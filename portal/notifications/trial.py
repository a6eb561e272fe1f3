"""Trying a channel out: at once, past the outbox, and saying exactly what happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _

from portal.base.severity import Severity
from portal.models import ChannelState, NotificationChannel
from portal.notifications.channels import base, send
from portal.notifications.channels.base import DeliveryError, Outgoing
from portal.notifications.configuration import recipients_of
from portal.notifications.notices import in_portal_language
from portal.notifications.states import states_of


@dataclass(frozen=True)
class Outcome:
    """`error` is empty where it was sent."""

    recipient: str
    error: str = ""


def try_out(channel: NotificationChannel) -> list[Outcome]:
    """Sends a test to each recipient, all within SEND_SECONDS. Not for transactions: it waits for others."""
    state = states_of([channel.key]).get(channel.key)
    with in_portal_language():
        outcomes = list(outcomes_of(channel, state.moved if state else {}))
    if any(not outcome.error for outcome in outcomes):
        ChannelState.objects.filter(channel=channel.key).update(last_success_at=timezone.now())
    return outcomes


def outcomes_of(channel: NotificationChannel, moved: dict[str, str]) -> Iterator[Outcome]:
    deadline = time.monotonic() + base.SEND_SECONDS
    for recipient in recipients_of(channel):
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise DeliveryError(_("There was no time left for it."))
            send(channel, test_message(moved.get(recipient, recipient)), left)
        except DeliveryError as error:
            yield Outcome(recipient, str(error))
        else:
            yield Outcome(recipient)


def test_message(address: str) -> Outgoing:
    return Outgoing(
        id=get_random_string(32),
        address=address,
        subject="test",
        severity=Severity.INFO,
        state="note",
        title=_("A test from Vigie"),
        text=_("This channel works. Somebody pressed “Send a test” in the portal."),
        url=f"{settings.PORTAL_URL.rstrip('/')}/admin/",
        at=timezone.now(),
    )
