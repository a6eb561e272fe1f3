"""The audit trail, read-only."""

from datetime import datetime

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, PeriodFilter
from portal.admin.searching import search_by
from portal.desk.history import describe_changes, describe_event
from portal.desk.matching import any_of
from portal.models import AuditEvent

# What stands before most names in the trail.
SUBJECT_KINDS = ("agent:", "user:", "token:", "backup:")


class FamilyFilter(ChoiceFilter):
    title = _("kind of event")
    parameter_name = "family"
    options = {
        "agent.": _("machines"),
        "token.": _("tokens"),
        "channel.": _("notification channels"),
        "backups.": _("backups"),
        "expectedbackupjob.": _("expected backups"),
        "monitoring.": _("Monitoring"),
        "target.": _("targets"),
        "maintenancewindow.": _("maintenance windows"),
        "licence.": _("licences"),
        "usage.": _("Usage"),
        "user.": _("users"),
        "group.": _("groups"),
        "admin.": _("actions in the admin"),
        "privacy.": _("exports and erasures of people"),
        "refused.": _("refusals"),
    }

    def condition(self, value: str, now: datetime) -> Q:
        return Q(action__begins=value)


class WhenFilter(PeriodFilter):
    title = _("time")
    parameter_name = "when"
    field = "at"


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    menu_order = 5
    ordering = ("-id",)
    sortable_by = ("at",)
    list_display = (moment_column("at", _("when"), ordering="at"), "what", "subject", "actor", "address", "count")
    list_display_links = ("what",)
    list_filter = (WhenFilter, FamilyFilter)
    is_log = True
    search_fields = ("subject__fragment", "actor__fragment")
    search_help_text = search_by(_("machine"), _("token"), _("backup"), _("user"))
    export_columns = ("at", "actor", "action", "subject", "before", "after", "address", "count", "last_at")
    facts = (
        "what",
        "action",
        "subject",
        "actor",
        "address",
        moment_column("at", _("when"), show=exact_moment),
        "count",
        moment_column("last_at", _("last time"), show=exact_moment),
        "details",
        "before",
        "after",
    )

    def indexed_matches(self, text: str) -> Q:
        """Find subjects by their beginning, with or without the kind before it."""
        return any_of(Q(subject__begins=f"{kind}{text}") for kind in ("", *SUBJECT_KINDS))

    @admin.display(description=_("event"))
    def what(self, event: AuditEvent) -> str:
        return describe_event(event)

    @admin.display(description=_("details"))
    def details(self, event: AuditEvent) -> str:
        return describe_changes(event)
