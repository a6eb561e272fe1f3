"""Anything else, through Apprise: one secret URL per channel. It says whether, but not why."""

from __future__ import annotations

import logging
from typing import Any

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, PersistentStoreMode
from django.utils.translation import gettext as _

from portal.notifications.channels.base import DeliveryError, Outgoing
from portal.notifications.known import Known
from portal.severity import Severity

TYPES = {
    Severity.CRITICAL: NotifyType.FAILURE,
    Severity.WARNING: NotifyType.WARNING,
    Severity.INFO: NotifyType.INFO,
}
# Its own log lines hold parts of URLs, and those are secret as a whole.
logging.getLogger("apprise").disabled = True


def plugin_of(url: str) -> Any:
    """None where Apprise does not understand the URL. Nothing is kept on disk, and no redirect is followed."""
    asset = AppriseAsset(app_id="Vigie", storage_mode=PersistentStoreMode.MEMORY, http_redirects=False)
    return Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def send(channel: Known, outgoing: Outgoing) -> str:
    """Raises DeliveryError. The plugin is called directly: Apprise's own retries would delay and repeat."""
    plugin = plugin_of(channel.secret())
    if plugin is None:
        raise DeliveryError(_("Apprise does not understand the URL of this channel."), permanent=True)
    body = "\n\n".join(part for part in (outgoing.text, outgoing.url) if part) or outgoing.title
    kind = NotifyType.SUCCESS if outgoing.state == "closed" else TYPES[Severity(outgoing.severity)]
    try:
        sent = plugin.notify(title=outgoing.title, body=body, notify_type=kind, body_format=NotifyFormat.TEXT)
    except Exception as error:
        text = _("Apprise failed: %(error)s.") % {"error": type(error).__name__}
        raise DeliveryError(text) from None
    if not sent:
        raise DeliveryError(_("Apprise could not deliver it, and does not say why."))
    return outgoing.address
