"""Incidents in the admin: status, who has them, duration, root cause, and what was measured meanwhile."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from monitoring.admin import charts, display, sections
from monitoring.admin.display import row_column
from monitoring.admin.filters import AssigneeFilter, IncidentStateFilter, OpenedFilter, RuleFilter
from monitoring.admin.incident_actions import IncidentActions
from monitoring.alerts.notices import incident_headline, incident_reason
from monitoring.models import Incident, Target
from monitoring.models.incidents import IS_RESOLVED
from portal.admin.base import Button
from portal.admin.display import exact_moment, moment_column, stack_lines
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE
from portal.desk.history import history_section
from portal.desk.panels import Section

# What an operator may do about the target of an incident, from the incident's page.
TARGET_ACTIONS = ("silence", "end_silence", "pause")


@admin.register(Incident)
class IncidentAdmin(IncidentActions):
    menu_order = 2
    purpose = _(
        "Outages and other problems of targets. An incident opens when a target fails repeatedly, and is resolved "
        "when its checks succeed again."
    )
    empty_link = ("admin:monitoring_target_changelist", _("View targets"))
    change_form_template = "monitoring/incident.html"
    ordering = (IS_RESOLVED, "-id")
    sortable_by = ("opened_at",)
    list_select_related = ("target", "assignee")
    list_display = (
        "state", "what_happened", moment_column("opened_at", _("opened"), ordering="id"), "lasted", "owner",
        "known_cause",
    )  # fmt: skip
    list_display_links = ("what_happened",)
    list_filter = (IncidentStateFilter, AssigneeFilter, RuleFilter, OpenedFilter)
    lookups = ("target",)
    search_fields = ("target__name__fragment",)
    search_help_text = search_by(_("target"))
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
                "acknowledged_by", "remark", "assigned_to",
            ),
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        return super().get_queryset(request).select_related("target", "assignee")

    # --- The page of an incident -------------------------------------------------------------------------------------

    def get_sections(self, request: HttpRequest, obj: Incident) -> list[Section]:
        history = history_section(self.subject_of(obj))
        checks = [sections.incident_checks_section(obj)] if obj.target_id else []
        return [sections.timeline_section(obj), *checks, history]

    def buttons(self, request: HttpRequest, obj: Incident) -> list[Button]:
        """Return the actions on the incident except for *Acknowledge*, whose form has a comment, and on its target."""
        own = [button for button in super().buttons(request, obj) if not button.url.endswith("/acknowledge/")]
        target_admin: Any = self.admin_site.get_model_admin(Target)
        if obj.target is None or obj.resolved_at is not None:
            return own
        return own + [
            button
            for button in target_admin.buttons(request, obj.target)
            if button.url.rstrip("/").rpartition("/")[2] in TARGET_ACTIONS
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        if obj is not None:
            may_acknowledge = self.has_acknowledge_permission(request) and self.can_act(obj, "acknowledge")
            end = obj.resolved_at or timezone.now()
            context |= {
                "acknowledge_url": self.address("act", obj.pk, "acknowledge") if may_acknowledge else "",
                "comment_length": Incident._meta.get_field("comment").max_length,
                "chart": charts.incident_chart(obj.target_id, obj.opened_at, end) if obj.target_id else None,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Columns and facts -------------------------------------------------------------------------------------------

    what_happened = row_column(
        _("incident"),
        lambda row: stack_lines(incident_headline(row), display.first_line(incident_reason(row))),
        export=incident_headline,
    )
    state = row_column(_("status"), display.incident_badge)
    what = row_column(_("target"), lambda row: display.link_to_target(row.target) if row.target else row.name)
    why = row_column(_("reason"), lambda row: format_html("{}", incident_reason(row) or EMPTY_VALUE))
    lasted = row_column(
        _("duration"),
        lambda row: display.incident_duration(row, timezone.now()),
        cells={_("duration (s)"): display.seconds_lasted},
    )
    owner = row_column(
        _("assigned to"),
        lambda row: stack_lines(*display.incident_owner(row)),
        cells={
            _("assigned to"): lambda row: str(row.assignee or ""),
            _("acknowledged by"): lambda row: row.acknowledged_by,
            _("comment"): lambda row: row.comment,
        },
    )
    assigned_to = row_column(_("assigned to"), lambda row: str(row.assignee or _("no one")))
    remark = row_column(_("comment"), lambda row: row.comment or EMPTY_VALUE)
    known_cause = row_column(
        _("root cause"), lambda row: display.short_cause(row.cause) or EMPTY_VALUE, export=lambda row: row.cause
    )
    cause_in_full = row_column(_("root cause"), lambda row: row.cause or str(_("not added yet")))
