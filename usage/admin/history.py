"""What people do about licences and usage, in words."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from portal.desk.history import EVENT_TEXTS

EVENT_TEXTS.update(
    {
        "licence.added": _("Added"),
        "licence.changed": _("Changed"),
        "licence.deleted": _("Deleted"),
        "usage.exported": _("Usage was exported"),
    }
)
