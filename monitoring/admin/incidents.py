"""Incidents in the admin: state, duration, acknowledgement and cause."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from monitoring.admin import display, sections
from monitoring.admin.base import AskingAdmin
from monitoring.admin.display import row_column
from monitoring.admin.filters import IncidentStateFilter, OpenedFilter, RuleFilter
from monitoring.admin.form import CauseForm
from monitoring.alerts import incidents
from monitoring.alerts.notices import incident_headline, incident_reason
from monitoring.models import Incident
from portal import audit
from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import exact_moment, moment_column, stack_lines
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE, format_moment
from portal.desk.history import history_section
from portal.desk.panels import Section


class IncidentActions(AskingAdmin, ReadOnlyAdmin):
    too_many = _("Select at most %(count)d incidents. Nothing was changed.")
    actions = ("acknowledge", "note_cause", "export_chosen", "export_chosen_xlsx")
    object_actions = ("acknowledge", "note_cause")

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("monitoring.acknowledge_incident"))

    def can_act(self, obj: Incident, action: str) -> bool:
        return action != "acknowledge" or (obj.resolved_at is None and obj.acknowledged_at is None)

    @admin.action(description=_("Acknowledge"), permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        found = self.lock_selection(request, queryset, Q(resolved_at=None, acknowledged_at=None))
        if not found:
            return
        rows = Incident.objects.filter(pk__in=[incident.pk for incident in found])
        acknowledged = set(incidents.acknowledge_incidents(rows, request.user.get_username(), timezone.now()))
        for incident in found:
            if incident.pk in acknowledged:
                audit.record_event("monitoring.acknowledged", self.subject_of(incident), request=request)
        text = ngettext(
            "Incident acknowledged; reminders stopped.",
            "%(count)d incidents acknowledged; reminders stopped.",
            len(acknowledged),
        )
        level = messages.SUCCESS if acknowledged else messages.WARNING
        self.message_user(request, text % {"count": len(acknowledged)}, level)

    @admin.action(description=_("Add root cause…"), permissions=["acknowledge"])
    def note_cause(self, request: HttpRequest, queryset: QuerySet[Incident]) -> HttpResponse | None:
        found = self.lock_selection(request, queryset, Q())
        if not found:
            return None
        known = {"cause": found[0].cause if len(found) == 1 else ""}
        form = CauseForm(request.POST if "confirmed" in request.POST else None, initial=known)
        if not form.is_valid():
            return self.ask_for_cause(request, found, form)
        actor, now, cause = request.user.get_username(), timezone.now(), form.cleaned_data["cause"]
        for incident in found:
            incidents.note_cause(incident, cause, actor, now)
            audit.record_event("monitoring.cause_noted", self.subject_of(incident), request=request)
        text = ngettext("Root cause saved.", "Root cause of %(count)d incidents saved.", len(found))
        self.message_user(request, text % {"count": len(found)}, messages.SUCCESS)
        return None

    def ask_for_cause(self, request: HttpRequest, found: list[Incident], form: CauseForm) -> HttpResponse:
        lead = _("Root cause and fix; helps next time.")
        chosen = [(incident.pk, str(incident), format_moment(incident.opened_at)) for incident in found]
        return self.ask(request, "note_cause", form, chosen, title=_("Root cause"), lead=lead, submit=_("Save"))


@admin.register(Incident)
class IncidentAdmin(IncidentActions):
    purpose = _(
        "Outages and other problems of targets. An incident opens when a target fails repeatedly, and is resolved "
        "when its checks succeed again."
    )
    empty_link = ("admin:monitoring_target_changelist", _("View targets"))
    ordering = ("-id",)
    sortable_by = ()
    list_select_related = ("target",)
    list_display = ("what_happened", "state", moment_column("opened_at", _("opened")), "lasted", "known_cause")
    list_display_links = ("what_happened",)
    list_filter = (IncidentStateFilter, RuleFilter, OpenedFilter)
    lookups = ("target",)
    search_fields = ("target__name__fragment",)
    search_help_text = search_by(_("target"))
    export_columns = (
        "id", "subject", "target__name", "rule", "opened_at", "acknowledged_at", "acknowledged_by", "resolved_at",
        "is_withdrawn", "duration", "error_kind", "detail", "cause", "told_at", "reminders",
    )  # fmt: skip
    titled_facts = (
        (
            _("Details"),
            (
                "state", "what", "rule", "why",
                moment_column("opened_at", _("opened"), show=exact_moment),
                moment_column("resolved_at", _("ended"), show=exact_moment),
                "lasted", "cause_in_full",
            ),
        ),
        (
            _("Notifications"),
            (
                moment_column("told_at", _("notified"), show=exact_moment, empty=_("alerts off")),
                moment_column("reminded_at", _("last reminder"), show=exact_moment),
                "reminders",
                moment_column("acknowledged_at", _("acknowledged"), show=exact_moment),
                "acknowledged_by",
            ),
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        return super().get_queryset(request).select_related("target")

    def get_sections(self, request: HttpRequest, obj: Incident) -> list[Section]:
        return [sections.timeline_section(obj), history_section(self.subject_of(obj))]

    def subject_of(self, obj: Any) -> str:
        return f"incident:{obj.pk}"

    # --- Columns and facts -------------------------------------------------------------------------------------------

    what_happened = row_column(
        _("incident"), lambda row: stack_lines(incident_headline(row), display.first_line(incident_reason(row)))
    )
    state = row_column(_("status"), display.incident_badge)
    what = row_column(_("event"), lambda row: display.link_to_target(row.target) if row.target else row.name)
    why = row_column(_("reason"), lambda row: format_html("{}", incident_reason(row) or EMPTY_VALUE))
    lasted = row_column(_("duration"), lambda row: display.incident_duration(row, timezone.now()))
    known_cause = row_column(_("root cause"), lambda row: display.short_cause(row.cause) or EMPTY_VALUE)
    cause_in_full = row_column(_("root cause"), lambda row: row.cause or str(_("not added yet")))
