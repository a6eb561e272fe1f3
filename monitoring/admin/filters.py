"""Filters of monitoring's lists."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from monitoring.alerts import maintenance
from monitoring.error_texts import ERROR_LABELS
from monitoring.models import CheckResult, Exclusion, Incident, MaintenanceWindow, Round, Target
from monitoring.models.targets import OVERDUE
from monitoring.panels import TROUBLED
from portal.admin.filters import ChoiceFilter, FieldFilter, PeriodFilter

# No index separates failed checks from good ones, so the search is bounded by time, which has an index.
LATELY = timedelta(hours=1)
# The numbers of rounds bound the search, since few rounds may match.
ROUNDS_LATELY = 10_000
# An incident's checks are shown with those shortly before and after it, which led to it and resolved it.
MARGIN = timedelta(minutes=10)
LONGEST_KEY = 19


class TargetStateFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "state"
    options = {state: state.label for state in reversed(Target.State)}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(state=value, is_active=True)


class AttentionFilter(ChoiceFilter):
    title = _("view")
    parameter_name = "standing"
    options = {
        "attention": _("needs attention"),
        "overdue": _("overdue"),
        "paused": _("paused"),
        "silenced": _("silenced"),
    }

    def condition(self, value: str, now: datetime) -> Q:
        return {
            "attention": Q(is_active=True, state__in=TROUBLED),
            "overdue": Q(is_active=True, next_check_at__lt=now - OVERDUE),
            "paused": Q(is_active=False),
            "silenced": Q(silenced_until__gt=now),
        }[value]


class IncidentStateFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "state"
    options = {
        "open": _("open"),
        "new": _("unacknowledged"),
        "acknowledged": _("acknowledged"),
        "resolved": _("resolved"),
        "withdrawn": _("monitoring stopped"),
    }

    def condition(self, value: str, now: datetime) -> Q:
        return {
            "open": Q(resolved_at=None),
            "new": Q(resolved_at=None, acknowledged_at=None),
            "acknowledged": Q(resolved_at=None, acknowledged_at__isnull=False),
            "resolved": Q(resolved_at__isnull=False, is_withdrawn=False),
            "withdrawn": Q(is_withdrawn=True),
        }[value]


class AssigneeFilter(admin.SimpleListFilter):
    title = _("assigned to")
    parameter_name = "assigned"
    options = {"me": _("me"), "none": _("no one")}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(self.options.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Incident]) -> QuerySet[Incident]:
        if self.value() == "me":
            return queryset.filter(assignee=request.user.pk)
        return queryset.filter(assignee=None) if self.value() == "none" else queryset


class IncidentChecksFilter(admin.SimpleListFilter):
    """Checks of the time of one incident. It is not offered, only shown while a link from the incident sets it."""

    title = _("incident")
    parameter_name = "incident"
    options: ClassVar[dict[str, Any]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        number = request.GET.get(self.parameter_name, "")
        return [(number, number)] if number.isascii() and number.isdigit() and len(number) < LONGEST_KEY else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[CheckResult]) -> QuerySet[CheckResult]:
        number = self.value()
        incident = Incident.objects.filter(pk=int(number)).first() if number else None
        return queryset.filter(**checks_around(incident)) if incident else queryset


def checks_around(incident: Incident) -> dict[str, Any]:
    """Return the lookups of the checks during an incident and shortly before and after it."""
    end = incident.resolved_at or timezone.now()
    return {"target": incident.target_id, "at__range": (incident.opened_at - MARGIN, end + MARGIN)}


class RuleFilter(FieldFilter):
    title = _("rule")
    parameter_name = "rule"
    field = "rule"
    options = dict(Incident.Rule.choices)


class OpenedFilter(PeriodFilter):
    title = _("opened")
    parameter_name = "opened"
    field = "opened_at"


class CheckedFilter(PeriodFilter):
    title = _("time")
    parameter_name = "checked"
    field = "at"
    options = {"hour": _("last hour"), "day": _("last 24 hours"), "week": _("last 7 days")}


class ErrorFilter(ChoiceFilter):
    title = _("failed in the last hour")
    parameter_name = "error"
    options = {"any": _("any reason"), "retried": _("retried successfully"), **ERROR_LABELS}

    def condition(self, value: str, now: datetime) -> Q:
        special = {"any": ~Q(error_kind=""), "retried": Q(retried__gt=0)}
        return Q(at__gte=now - LATELY) & special.get(value, Q(error_kind=value))


class ExclusionFilter(ChoiceFilter):
    title = _("excluded, last hour")
    parameter_name = "excuse"
    options = dict(Exclusion.choices)

    def condition(self, value: str, now: datetime) -> Q:
        return Q(at__gte=now - LATELY, excuse=value)


class FinishedFilter(PeriodFilter):
    title = _("finished")
    parameter_name = "finished"
    field = "finished_at"


class RoundOutcomeFilter(ChoiceFilter):
    title = _("result, last 10,000 rounds")
    parameter_name = "outcome"
    options = {"failures": _("some failures"), "offline": _("offline")}

    def condition(self, value: str, now: datetime) -> Q:
        found = {"failures": Q(failures__gt=0), "offline": Q(is_online=False)}[value]
        newest = Round.objects.latest_first().values_list("number", flat=True).first() or 0
        return Q(number__gt=newest - ROUNDS_LATELY) & found


class WindowStateFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "state"
    options = {"running": _("running now"), "upcoming": _("upcoming"), "over": _("finished")}

    def condition(self, value: str, now: datetime) -> Q:
        if value == "running":
            relevant = MaintenanceWindow.objects.relevant(now)
            return Q(pk__in=[window.pk for window in relevant if maintenance.is_window_active(window, now)])
        return {"upcoming": Q(starts_at__gt=now), "over": Q(repeats="", ends_at__lte=now)}[value]


class RepeatsFilter(ChoiceFilter):
    title = _("repeats")
    parameter_name = "repeats"
    options = {"once": _("once"), "daily": _("daily"), "weekly": _("weekly")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(repeats="" if value == "once" else value)
