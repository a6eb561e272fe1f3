"""Filters of the lists of jobs and entries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from backups.models import ExpectedBackupJob, RestoreDrill, Status
from backups.protection import (
    failing,
    never_drilled,
    overdue,
    paused,
    pending,
    proof_lost,
    protected,
    proven,
    suspicious,
    waiting,
)
from backups.querysets import HAS_DOUBTS, UNSTORED
from portal.admin.filters import ChoiceFilter, FieldFilter, PeriodFilter

# Lateness and warnings have no index, so these filters are limited to a period that the index on time covers.
LATELY = timedelta(days=7)


# --- Expected backups ------------------------------------------------------------------------------------------------


class JobStatusFilter(FieldFilter):
    title = _("last result")
    parameter_name = "status"
    field = "current_status"
    options = dict(Status.choices)


class AttentionFilter(ChoiceFilter):
    title = _("protection")
    parameter_name = "attention"
    options = {
        "yes": _("failing"), "overdue": _("overdue"), "doubts": _("suspicious"), "pending": _("pending"),
        "paused": _("paused"), "no": _("protected"),
    }  # fmt: skip
    conditions = {
        "yes": failing, "overdue": overdue, "doubts": suspicious, "pending": pending,
        "paused": paused, "no": protected,
    }  # fmt: skip

    def condition(self, value: str, now: datetime) -> Q:
        return self.conditions[value](now)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Understand `waiting` too, the former name of overdue and pending, which is in messages and bookmarks."""
        if self.value() == "waiting":
            return queryset.filter(waiting(timezone.now()))
        return super().queryset(request, queryset)


class ProofFilter(ChoiceFilter):
    title = _("restore drill")
    parameter_name = "proof"
    options = {"lost": _("not proven"), "yes": _("proven"), "never": _("no drill yet")}
    conditions = {"lost": proof_lost, "yes": proven, "never": never_drilled}

    def condition(self, value: str, now: datetime) -> Q:
        return self.conditions[value]()


class StaleFilter(ChoiceFilter):
    title = _("no verified backup in")
    parameter_name = "stale"
    options = {"days": _("2 days"), "week": _("7 days")}

    def condition(self, value: str, now: datetime) -> Q:
        since = now - {"days": timedelta(days=2), "week": timedelta(days=7)}[value]
        return Q(last_verified_at__lt=since) | Q(last_verified_at=None, created_at__lt=since)


class PausedFilter(ChoiceFilter):
    title = _("paused")
    parameter_name = "paused"
    options = {"while": _("until a date"), "off": _("until resumed")}

    def condition(self, value: str, now: datetime) -> Q:
        return {"while": Q(is_active=True, paused_until__gt=now), "off": Q(is_active=False)}[value]


class FrequencyFilter(ChoiceFilter):
    title = _("frequency")
    parameter_name = "frequency"
    options = {**dict(ExpectedBackupJob.Frequency.choices), "cron": _("cron expression")}

    def condition(self, value: str, now: datetime) -> Q:
        return ~Q(schedule="") if value == "cron" else Q(schedule="", expected_frequency=value)


class DrillStatusFilter(FieldFilter):
    title = _("status")
    parameter_name = "status"
    field = "status"
    options = dict(RestoreDrill.Status.choices)


# --- Entries ---------------------------------------------------------------------------------------------------------


class ExpectedFilter(PeriodFilter):
    title = _("scheduled")
    parameter_name = "expected"
    field = "cycle_at"


class EntryStatusFilter(FieldFilter):
    title = _("status")
    parameter_name = "status"
    field = "status"
    options = {value: label for value, label in Status.choices if value != Status.PENDING}


class LateFilter(ChoiceFilter):
    title = _("late, last 7 days")
    parameter_name = "late"
    options = {"yes": pgettext_lazy("backup", "late")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(late=True, cycle_at__gte=now - LATELY)


class DoubtsFilter(ChoiceFilter):
    title = _("suspicious, last 7 days")
    parameter_name = "doubts"
    options = {"yes": _("suspicious")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(cycle_at__gte=now - LATELY) & HAS_DOUBTS


class StorageFilter(ChoiceFilter):
    title = _("storage")
    parameter_name = "storage"
    options = {"unstored": _("not stored")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(promotion__in=UNSTORED)
