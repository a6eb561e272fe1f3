"""Texts of audit events about targets, incidents and maintenance."""

from django.utils.translation import gettext_lazy as _

from portal.audit import EVENT_TEXTS, SUBJECTS, SubjectKind, by_number

EVENT_TEXTS.update(
    {
        "target.added": _("Added"),
        "target.changed": _("Changed"),
        "target.deleted": _("Deleted"),
        "maintenancewindow.added": _("Added"),
        "maintenancewindow.changed": _("Changed"),
        "maintenancewindow.deleted": _("Deleted"),
        "monitoring.check_asked": _("Check requested"),
        "monitoring.silenced": _("Silenced"),
        "monitoring.silence_ended": _("Unsilenced"),
        "monitoring.paused": _("Paused"),
        "monitoring.resumed": _("Resumed"),
        "monitoring.badge_published": _("Badge published"),
        "monitoring.badge_revoked": _("Badge unpublished"),
        "monitoring.acknowledged": _("Incident acknowledged"),
        "monitoring.unacknowledged": _("Acknowledgement withdrawn"),
        "monitoring.assigned": _("Incident assigned"),
        "monitoring.cause_noted": _("Root cause saved"),
    }
)
SUBJECTS.update(
    {
        "target": SubjectKind("monitoring.target", by_number, is_key=True, columns=("name",)),
        "incident": SubjectKind(
            "monitoring.incident", by_number, is_key=True, columns=("rule", "subject", "target__name")
        ),
        "maintenancewindow": SubjectKind("monitoring.maintenancewindow", by_number, is_key=True, columns=("name",)),
    }
)
