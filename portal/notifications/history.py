"""Texts of the audit events about channels."""

from django.utils.translation import gettext_lazy as _

from portal.audit import EVENT_TEXTS

EVENT_TEXTS.update(
    {
        "channel.added": _("Channel added"),
        "channel.changed": _("Channel changed"),
        "channel.deleted": _("Channel deleted"),
        "channel.activated": _("Channel switched on"),
        "channel.deactivated": _("Channel switched off"),
        "channel.tested": _("Test sent"),
        "channel.disabled": _("Channel disabled after a failure"),
        "channel.enabled": _("Channel enabled again"),
    }
)
