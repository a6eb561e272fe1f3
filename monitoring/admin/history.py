"""Texts of audit events about targets, incidents and maintenance."""

from django.utils.translation import gettext_lazy as _

from portal.audit import EVENT_TEXTS

EVENT_TEXTS.update(
    {
        "target.added": _("Added"),
        "target.changed": _("Changed"),
        "target.deleted": _("Deleted"),
        "maintenancewindow.added": _("Added"),
        "maintenancewindow.changed": _("Changed"),
        "maintenancewindow.deleted": _("Deleted"),
        "monitoring.check_asked": _("A check was asked for"),
        "monitoring.silenced": _("Silenced"),
        "monitoring.silence_ended": _("The silence was ended"),
        "monitoring.paused": _("Paused"),
        "monitoring.resumed": _("Resumed"),
        "monitoring.badge_published": _("A badge was published"),
        "monitoring.badge_revoked": _("The badge was revoked"),
        "monitoring.acknowledged": _("The incident was acknowledged"),
        "monitoring.cause_noted": _("The cause was noted"),
    }
)
