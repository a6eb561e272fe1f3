"""How a text reaches people: one module per kind of channel, each with a `send` that returns where it went."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.utils.translation import gettext as _

from portal.base.encryption import Unreadable
from portal.models import NotificationChannel
from portal.notifications.channels import apprise, base, mail, telegram, webhook
from portal.notifications.channels.base import DeliveryError, Outgoing, limited

Kind = NotificationChannel.Kind
SENDERS: Mapping[str, Callable[[NotificationChannel, Outgoing], str]] = {
    Kind.EMAIL: mail.send,
    Kind.TELEGRAM: telegram.send,
    Kind.WEBHOOK: webhook.send,
    Kind.APPRISE: apprise.send,
}


def send(channel: NotificationChannel, outgoing: Outgoing, seconds: float | None = None) -> str:
    """The address it went to. Raises DeliveryError, and nothing else, within SEND_SECONDS or those given.

    Not for transactions: it waits for others.
    """
    return limited(lambda: sent(channel, outgoing), base.SEND_SECONDS if seconds is None else seconds)


def sent(channel: NotificationChannel, outgoing: Outgoing) -> str:
    try:
        return SENDERS[channel.kind](channel, outgoing)
    except Unreadable:
        text = _("The channel’s secret was encrypted under another ENCRYPTION_KEY; enter it again.")
        raise DeliveryError(text, permanent=True) from None
