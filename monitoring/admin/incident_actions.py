"""Actions on incidents: acknowledge with a comment, assign, add the root cause."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from monitoring.admin.base import LockingAdmin
from monitoring.admin.confirmations import describe_assignment, describe_cause
from monitoring.admin.form import CommentForm
from monitoring.alerts import incidents
from monitoring.models import Incident
from portal import audit
from portal.admin.base import ReadOnlyAdmin
from portal.admin.confirm import confirm_first

Values = dict[str, str] | None


class IncidentActions(LockingAdmin, ReadOnlyAdmin):
    actions = (
        "acknowledge", "unacknowledge", "assign_to_me", "assign", "note_cause", "export_chosen", "export_chosen_xlsx",
    )  # fmt: skip
    object_actions = ("acknowledge", "unacknowledge", "assign_to_me", "assign", "note_cause")

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("monitoring.acknowledge_incident"))

    def can_act(self, obj: Incident, action: str) -> bool:
        is_open = obj.resolved_at is None
        return {
            "acknowledge": is_open and obj.acknowledged_at is None,
            "unacknowledge": is_open and obj.acknowledged_at is not None,
            "assign_to_me": is_open,
            "assign": is_open,
        }.get(action, True)

    def subject_of(self, obj: Any) -> str:
        return f"incident:{obj.pk}"

    def record_changes(
        self, request: HttpRequest, name: str, keys: list[int], before: Mapping[int, Values], after: Values, text: str
    ) -> None:
        """Record an audit event for each changed incident, and show how many there are. `before` is by key."""
        for key in keys:
            audit.record_event(
                f"monitoring.{name}", f"incident:{key}", request=request, before=before.get(key), after=after
            )
        level = messages.SUCCESS if keys else messages.WARNING
        self.message_user(request, text % {"count": len(keys)}, level)

    @admin.action(description=_("Acknowledge"), permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        """Acknowledge at once; the form on an incident's page sends a comment along."""
        found = self.lock_rows(request, queryset, "acknowledge")
        form = CommentForm(request.POST)
        if not found:
            return
        if not form.is_valid():
            self.message_user(request, str(form.errors["comment"][0]), messages.ERROR)
            return
        rows = Incident.objects.filter(pk__in=[incident.pk for incident in found])
        actor, comment = request.user.get_username(), form.cleaned_data["comment"]
        keys = incidents.acknowledge_incidents(rows, actor, timezone.now(), comment)
        text = ngettext(
            "Incident acknowledged; reminders stopped.",
            "%(count)d incidents acknowledged; reminders stopped.",
            len(keys),
        )
        self.record_changes(request, "acknowledged", keys, {}, {"comment": comment} if comment else None, text)

    @admin.action(description=_("Unacknowledge"), permissions=["acknowledge"])
    def unacknowledge(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        found = self.lock_rows(request, queryset, "unacknowledge")
        if not found:
            return
        rows = Incident.objects.filter(pk__in=[incident.pk for incident in found])
        keys = incidents.unacknowledge_incidents(rows, request.user.get_username(), timezone.now())
        text = ngettext(
            "Acknowledgement withdrawn; reminders resumed.",
            "%(count)d acknowledgements withdrawn; reminders resumed.",
            len(keys),
        )
        before = {row.pk: {"acknowledged_by": row.acknowledged_by, "comment": row.comment} for row in found}
        after = {"acknowledged_by": "", "comment": ""}
        self.record_changes(request, "unacknowledged", keys, before, after, text)

    @admin.action(description=_("Assign to me"), permissions=["acknowledge"])
    def assign_to_me(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self.assign_rows(request, self.lock_rows(request, queryset, "assign_to_me"), request.user)

    @confirm_first(describe_assignment)
    @admin.action(description=_("Assign…"), permissions=["acknowledge"])
    def assign(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        assignee = request.confirmed_form.cleaned_data["assignee"]  # type: ignore[attr-defined]
        self.assign_rows(request, self.lock_rows(request, queryset, "assign"), assignee)

    def assign_rows(self, request: HttpRequest, found: list[Incident], assignee: Any) -> None:
        if not found:
            return
        keys = incidents.assign_incidents(found, assignee, request.user.get_username(), timezone.now())
        text = ngettext("Incident assigned.", "%(count)d incidents assigned.", len(keys))
        before = {row.pk: {"assignee": str(row.assignee or "")} for row in found}
        self.record_changes(request, "assigned", keys, before, {"assignee": str(assignee or "")}, text)

    @confirm_first(describe_cause)
    @admin.action(description=_("Add root cause…"), permissions=["acknowledge"])
    def note_cause(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        found = self.lock_rows(request, queryset, "note_cause")
        if not found:
            return
        cause = request.confirmed_form.cleaned_data["cause"]  # type: ignore[attr-defined]
        before = {row.pk: {"cause": row.cause} for row in found}
        incidents.note_cause(found, cause, request.user.get_username(), timezone.now())
        text = ngettext("Root cause saved.", "Root cause of %(count)d incidents saved.", len(found))
        self.record_changes(request, "cause_noted", list(before), before, {"cause": cause}, text)
