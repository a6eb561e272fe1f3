"""Admin actions of triage."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import actions
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from beta.admin.confirmations import describe_triage
from beta.admin.feedback_form import BulkTriageForm
from beta.feedback import triage
from beta.feedback.triage import TriageChange
from beta.models import BetaFeedback
from monitoring.admin.base import LockingAdmin
from portal import audit
from portal.admin import confirm
from portal.admin.confirm import confirm_first

Rows = QuerySet[BetaFeedback]
Status = BetaFeedback.Status
TRIAGED = "monitoring.feedback_triaged"
# The states in which each action makes sense: settled feedback is reopened before it is settled in another way.
CAN = {
    "assign_to_me": BetaFeedback.UNSETTLED,
    "plan": (Status.OPEN,),
    "fix": BetaFeedback.UNSETTLED,
    "decline": BetaFeedback.UNSETTLED,
    "reopen": tuple(status for status in Status if status != Status.OPEN),
}


def record_triage(request: HttpRequest, changed: Sequence[TriageChange]) -> None:
    """Record an audit event for each change, without comments and participants."""
    for change in changed:
        audit.record_event(TRIAGED, change.feedback.subject, request=request, before=change.before, after=change.after)


class FeedbackActions(LockingAdmin):
    actions = (
        "triage", "assign_to_me", "plan", "fix", "decline", "reopen", "delete_selected", "export_chosen",
        "export_chosen_xlsx",
    )  # fmt: skip
    object_actions = ("assign_to_me", "plan", "fix", "decline", "reopen")

    def can_act(self, obj: BetaFeedback, action: str) -> bool:
        return obj.status in CAN[action]

    def lock_rows(self, request: HttpRequest, queryset: Rows, action: str) -> list[Any]:
        """Lock the programmes before the rows: see `triage.lock_programmes`."""
        newest = queryset.order_by(*self.get_ordering(request)).values_list("pk", "programme")
        chosen = dict(newest[: confirm.MOST_AT_ONCE + 1])
        triage.lock_programmes(set(chosen.values()))
        return super().lock_rows(request, queryset.filter(pk__in=chosen), action)

    def carry_out(self, request: HttpRequest, rows: Sequence[BetaFeedback], wanted: Mapping[str, Any]) -> None:
        """Apply the changes to the rows and report how many changed."""
        changed = [change for feedback in rows for change in triage.apply_triage(feedback, wanted)]
        record_triage(request, changed)
        count = len({change.feedback.pk for change in changed})
        text = ngettext("%(count)d feedback entry updated.", "%(count)d feedback entries updated.", count) % {
            "count": count
        }
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    def apply_to_selection(self, request: HttpRequest, queryset: Rows, action: str, **wanted: Any) -> None:
        rows = self.lock_rows(request, queryset, action)
        if rows:
            self.carry_out(request, rows, wanted)

    # --- One click ---------------------------------------------------------------------------------------------------

    @admin.action(description=_("Assign to me"), permissions=["change"])
    def assign_to_me(self, request: HttpRequest, queryset: Rows) -> None:
        self.apply_to_selection(request, queryset, "assign_to_me", assignee=request.user)

    @admin.action(description=_("Mark as planned"), permissions=["change"])
    def plan(self, request: HttpRequest, queryset: Rows) -> None:
        self.apply_to_selection(request, queryset, "plan", status=Status.PLANNED)

    @admin.action(description=_("Mark as fixed"), permissions=["change"])
    def fix(self, request: HttpRequest, queryset: Rows) -> None:
        self.apply_to_selection(request, queryset, "fix", status=Status.FIXED)

    @admin.action(description=_("Mark as won’t fix"), permissions=["change"])
    def decline(self, request: HttpRequest, queryset: Rows) -> None:
        self.apply_to_selection(request, queryset, "decline", status=Status.DECLINED)

    @admin.action(description=_("Reopen"), permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: Rows) -> None:
        self.apply_to_selection(request, queryset, "reopen", status=Status.OPEN)

    # --- What needs to be asked --------------------------------------------------------------------------------------

    @confirm_first(describe_triage)
    @admin.action(description=_("Triage…"), permissions=["change"])
    def triage(self, request: HttpRequest, queryset: Rows) -> None:
        form: BulkTriageForm = request.confirmed_form  # type: ignore[attr-defined]
        self.carry_out(request, form.rows_to_change, form.wanted)

    # --- Deleting ----------------------------------------------------------------------------------------------------

    @admin.action(description=_("Delete…"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        rows = self.lock_rows(request, queryset, "delete_selected")
        if not rows:
            return None
        return actions.delete_selected(self, request, queryset.filter(pk__in=[row.pk for row in rows]))
