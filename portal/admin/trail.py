"""The audit trail, read-only."""

from datetime import datetime

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.admin.base import ReadOnlyAdmin, begins_with
from portal.admin.display import exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, PeriodFilter
from portal.desk.history import describe_changes, describe_event
from portal.models import AuditEvent


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
    ordering = ("-id",)
    sortable_by = ("at",)
    list_display = (moment_column("at", _("when"), ordering="at"), "what", "subject", "actor", "address", "count")
    list_display_links = ("what",)
    list_filter = (WhenFilter, FamilyFilter)
    search_fields = ("subject__begins",)
    search_help_text = begins_with("agent:…", "token:…", "backup:…", "user:…")
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

    @admin.display(description=_("event"))
    def what(self, event: AuditEvent) -> str:
        return describe_event(event)

    @admin.display(description=_("details"))
    def details(self, event: AuditEvent) -> str:
        return describe_changes(event)
