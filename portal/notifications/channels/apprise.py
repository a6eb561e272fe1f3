"""Anything else, through Apprise: one secret URL per channel. It says whether, but not why."""

from __future__ import annotations

from typing import Any

from apprise import NotifyFormat, NotifyType
from django.utils.translation import gettext as _

from portal.base.severity import Severity
from portal.egress.call import AddressRefused
from portal.egress.session import share_deadline
from portal.models import NotificationChannel
from portal.notifications.channels.apprise_urls import UnusableURL, plugin_of
from portal.notifications.channels.base import DeliveryError, Outgoing
from portal.notifications.channels.http import failure
from portal.notifications.configuration import secret_of

TYPES = {
    Severity.CRITICAL: NotifyType.FAILURE,
    Severity.WARNING: NotifyType.WARNING,
    Severity.INFO: NotifyType.INFO,
}


def service_of(channel: NotificationChannel) -> Any:
    """Return the Apprise service of the channel. Raises DeliveryError if its URL is not used, and Unreadable."""
    try:
        return plugin_of(secret_of(channel))
    except UnusableURL as error:
        raise DeliveryError(str(error), permanent=True) from None


def send(channel: NotificationChannel, outgoing: Outgoing) -> str:
    """Raises DeliveryError. The plugin is called directly: Apprise's own retries would delay and repeat."""
    plugin = service_of(channel)
    body = "\n\n".join(part for part in (outgoing.text, outgoing.url) if part) or outgoing.title
    kind = NotifyType.SUCCESS if outgoing.state == "closed" else TYPES[Severity(outgoing.severity)]
    share_deadline()  # a service that calls on after the time of one sending would deliver what is sent again
    try:
        sent = plugin.notify(title=outgoing.title, body=body, notify_type=kind, body_format=NotifyFormat.TEXT)
    except AddressRefused as error:
        raise failure(error) from None
    except Exception as error:
        text = _("Apprise failed: %(error)s.") % {"error": type(error).__name__}
        raise DeliveryError(text) from None
    if not sent:
        raise DeliveryError(_("Apprise could not deliver it, and does not say why."))
    return outgoing.address
