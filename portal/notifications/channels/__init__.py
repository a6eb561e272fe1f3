"""Channels: one module per kind, each with a `send` that returns the address a message was sent to."""

from collections.abc import Callable, Mapping

from django.utils.translation import gettext as _

from portal.base.encryption import Unreadable
from portal.models import NotificationChannel
from portal.notifications.channels import apprise, base, mail, telegram, webhook
from portal.notifications.channels.base import DeliveryError, RenderedMessage, run_within

Kind = NotificationChannel.Kind
SENDERS: Mapping[str, Callable[[NotificationChannel, RenderedMessage], str]] = {
    Kind.EMAIL: mail.send,
    Kind.TELEGRAM: telegram.send,
    Kind.WEBHOOK: webhook.send,
    Kind.APPRISE: apprise.send,
}


def send(channel: NotificationChannel, outgoing: RenderedMessage, seconds: float | None = None) -> str:
    """Send and return the address used. Raises only DeliveryError, within SEND_SECONDS or `seconds`.

    Call it outside transactions: it does network I/O.
    """
    return run_within(lambda: send_by_kind(channel, outgoing), base.SEND_SECONDS if seconds is None else seconds)


def send_by_kind(channel: NotificationChannel, outgoing: RenderedMessage) -> str:
    try:
        return SENDERS[channel.kind](channel, outgoing)
    except Unreadable:
        text = _("The channel’s secret was encrypted with another ENCRYPTION_KEY. Enter it again.")
        raise DeliveryError(text, permanent=True) from None
