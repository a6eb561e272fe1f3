"""Send test messages through a channel at once, past the outbox, and report the exact results."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _

from portal.base.findings import Severity
from portal.models import ChannelState, NotificationChannel
from portal.notifications.channels import base, send
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.configuration import recipients_of
from portal.notifications.notices import in_portal_language
from portal.notifications.states import load_states


@dataclass(frozen=True)
class SelfTestResult:
    """The result for one recipient; `error` is empty if the message was sent."""

    recipient: str
    error: str = ""


def send_test_messages(channel: NotificationChannel) -> list[SelfTestResult]:
    """Send a test to each recipient, all within SEND_SECONDS. Call it outside transactions: it does network I/O."""
    state = load_states([channel.key]).get(channel.key)
    with in_portal_language():
        results = list(send_to_each(channel, state.moved if state else {}))
    if any(not result.error for result in results):
        ChannelState.objects.filter(channel=channel.key).update(last_success_at=timezone.now())
    return results


def try_settings(channel: NotificationChannel) -> list[SelfTestResult]:
    """Send a test by settings that are not saved, and store nothing. Call it outside transactions.

    The user who tests reads the errors, so they are in that user's language.
    """
    return list(send_to_each(channel, {}))


def send_to_each(channel: NotificationChannel, moved: dict[str, str]) -> Iterator[SelfTestResult]:
    deadline = time.monotonic() + base.SEND_SECONDS
    for recipient in recipients_of(channel):
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise DeliveryError(_("Not sent: the time limit was reached."))
            send(channel, build_test_message(moved.get(recipient, recipient)), left)
        except DeliveryError as error:
            yield SelfTestResult(recipient, str(error))
        else:
            yield SelfTestResult(recipient)


def build_test_message(address: str) -> RenderedMessage:
    return RenderedMessage(
        id=get_random_string(32),
        address=address,
        subject="test",
        severity=Severity.INFO,
        state="note",
        title=_("Test notification from Vigie"),
        text=_("Test notification: this channel works."),
        url=f"{settings.PORTAL_URL.rstrip('/')}/admin/",
        at=timezone.now(),
    )
