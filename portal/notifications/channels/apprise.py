"""Any other service, through Apprise, by one secret URL per channel. Apprise does not say why a sending failed."""

from typing import Any

from apprise import NotifyFormat, NotifyType
from django.utils.translation import gettext as _

from portal.base.findings import Severity
from portal.egress.call import AddressRefused
from portal.egress.session import start_shared_deadline
from portal.models import NotificationChannel
from portal.notifications.channels.apprise_urls import UnusableURL, create_plugin
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.channels.http import delivery_error
from portal.notifications.configuration import secret_of

TYPES = {
    Severity.CRITICAL: NotifyType.FAILURE,
    Severity.WARNING: NotifyType.WARNING,
    Severity.INFO: NotifyType.INFO,
}


def create_service(channel: NotificationChannel) -> Any:
    """Return the Apprise service of the channel. Raises DeliveryError if its URL is not used, and Unreadable."""
    try:
        return create_plugin(secret_of(channel))
    except UnusableURL as error:
        raise DeliveryError(str(error), permanent=True) from None


def send(channel: NotificationChannel, outgoing: RenderedMessage) -> str:
    """Raises DeliveryError. The plugin is called directly: Apprise's own retries would delay and repeat."""
    plugin = create_service(channel)
    body = "\n\n".join(part for part in (outgoing.text, outgoing.url) if part) or outgoing.title
    kind = NotifyType.SUCCESS if outgoing.state == "closed" else TYPES[Severity(outgoing.severity)]
    start_shared_deadline()  # a service that goes on after the time limit would deliver a message that is sent again
    try:
        sent = plugin.notify(title=outgoing.title, body=body, notify_type=kind, body_format=NotifyFormat.TEXT)
    except AddressRefused as error:
        raise delivery_error(error) from None
    except Exception as error:
        text = _("Apprise failed: %(error)s.") % {"error": type(error).__name__}
        raise DeliveryError(text) from None
    if not sent:
        raise DeliveryError(_("Apprise could not deliver the message and gave no reason."))
    return outgoing.address
