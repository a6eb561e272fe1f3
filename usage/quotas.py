"""Quotas: how much of it each licence has used, and the warnings at 80 % and at 100 %, once per period each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db import transaction
from django.db.models import Case, DateTimeField, F, FloatField, Min, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Cast, Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.base.moments import midnight
from portal.base.words import format_count
from portal.notifications import Notice, Severity, in_portal_language, notify
from portal.work.jobs import Lease
from usage.consumption import DAY, Period, month_before, period_at, with_segments
from usage.models import Licence, Run, RunRollup
from usage.models.licences import FIRST_DAY, LAST_DAY

NEAR, FULL = 80, 100
# Whole weeks: weekends and working days weigh in as they do in the forecast.
PACE_DAYS = 28
REPORTERS_SHOWN = 3
UNNAMED = Q(customer="")
WITHOUT_QUOTA = Q(monthly_page_quota=None)
NO_WARNING: Mapping[str, int | None] = {"told_period": None, "told_percent": 0}


def over_quota(now: datetime) -> Q:
    return Q(exceeded_until__gt=now)


def near_quota(now: datetime) -> Q:
    """Match licences that have used 80 % or more of the quota, but not all of it.

    Uses the stored warning, since a query cannot compute each licence's period: one that began within a month is the
    current one.
    """
    today = timezone.localdate(now)
    a_month_ago = month_before(today.replace(day=min(today.day, LAST_DAY)))
    is_warned = Q(told_percent__gte=NEAR, told_period__gt=a_month_ago)
    return is_warned & ~WITHOUT_QUOTA & (Q(exceeded_until=None) | Q(exceeded_until__lte=now))


def with_month_usage(licences: QuerySet[Licence], now: datetime) -> QuerySet[Licence]:
    """Add the aliases `month_pages` and `month_share`, to sort by. Each row costs a sum of its rollups.

    `month_share` is -1 without a quota, since databases sort nulls differently.
    """
    days = range(FIRST_DAY, LAST_DAY + 1)
    starts = [When(period_day=day, then=Value(period_at(now, day).start)) for day in days]
    hours = RunRollup.objects.filter(license_ref=OuterRef("ref"), hour__gte=OuterRef("month_start")).order_by()
    pages = hours.values("license_ref").annotate(total=Sum("pages")).values("total")
    share = Cast("month_pages", FloatField()) / F("monthly_page_quota")
    return (
        licences.alias(month_start=Case(*starts, output_field=DateTimeField()))
        .alias(month_pages=Coalesce(Subquery(pages), 0))
        .alias(month_share=Coalesce(share, -1.0))
    )


# --- Status ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QuotaStatus:
    """The pages that a licence has used in its current period, and its quota, None if unlimited.

    `pace` is the average number of pages per day over the last finished days, 28 at most. Days before the first run do
    not count; without a finished day it is None.
    """

    now: datetime
    period: Period
    quota: int | None = None
    pages: int = 0
    pace: float | None = None

    @property
    def percent(self) -> int | None:
        """Return the used share, rounded down: 100 means that the quota is used up."""
        return None if self.quota is None else self.pages * 100 // self.quota

    @property
    def is_used_up(self) -> bool:
        return self.quota is not None and self.pages >= self.quota

    @property
    def expected(self) -> int | None:
        """Return the forecast of pages at the end of the period."""
        if self.pace is None:
            return None
        return self.pages + round(self.pace * ((self.period.end - self.now) / DAY))

    @property
    def used_up_on(self) -> date | None:
        """Return the forecast day on which the quota is reached; None if it already is, or not in this period."""
        if self.quota is None or self.is_used_up or not self.pace:
            return None
        days = (self.quota - self.pages) / self.pace
        return timezone.localdate(self.now + days * DAY) if days < (self.period.end - self.now) / DAY else None


@dataclass
class SegmentedUsage:
    """A licence's pages and first hour, both by the index of a segment: the time between two consecutive starts."""

    pages: dict[int, int] = field(default_factory=dict)
    first_hour: dict[int, datetime] = field(default_factory=dict)


def quota_statuses(licences: Collection[Licence], now: datetime) -> dict[str, QuotaStatus]:
    """Return the status of each licence by its ref. One query, whatever days their periods begin on."""
    today = timezone.localdate(now)
    since, until = midnight(today - PACE_DAYS * DAY), midnight(today)
    periods = {licence.ref: period_at(now, licence.period_day) for licence in licences}
    starts = sorted({since, until, *(period.start for period in periods.values())})
    usage_by_ref = read_segments([*periods], starts)
    pace_segments = range(starts.index(since), starts.index(until))
    statuses = {}
    for licence in licences:
        period, usage = periods[licence.ref], usage_by_ref[licence.ref]
        pages = sum(usage.pages.get(index, 0) for index in range(starts.index(period.start), len(starts)))
        pace = pages_per_day(licence, usage, pace_segments, today)
        statuses[licence.ref] = QuotaStatus(now, period, licence.monthly_page_quota, pages, pace)
    return statuses


def read_segments(refs: list[str], starts: Sequence[datetime]) -> dict[str, SegmentedUsage]:
    usage_by_ref: dict[str, SegmentedUsage] = defaultdict(SegmentedUsage)
    hours = with_segments(RunRollup.objects.filter(license_ref__in=refs), starts)
    for ref, index, pages, first in hours.values_list("license_ref", "segment").annotate(Sum("pages"), Min("hour")):
        usage_by_ref[ref].pages[index], usage_by_ref[ref].first_hour[index] = pages, first
    return usage_by_ref


def pages_per_day(licence: Licence, usage: SegmentedUsage, segments: range, today: date) -> float | None:
    """Return the pace (see QuotaStatus). Runs reported late may be older than the licence's `first_seen_at`."""
    first_uses = [usage.first_hour[index] for index in segments if index in usage.first_hour]
    first_uses += [licence.first_seen_at] if licence.first_seen_at else []
    days = min((today - timezone.localdate(min(first_uses))).days, PACE_DAYS) if first_uses else 0
    return sum(usage.pages.get(index, 0) for index in segments) / days if days >= 1 else None


# --- Review ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LicenceUpdate:
    """New values for a licence as it was read, and the warning that goes with them."""

    licence: Licence
    fields: Mapping[str, datetime | date | int | None]
    notice: Notice | None = None

    def save(self) -> bool:
        """Write the values. Return False if the licence was changed meanwhile: the next review handles it."""
        names = ("monthly_page_quota", "period_day", "exceeded_until", "told_period", "told_percent")
        as_read = {name: getattr(self.licence, name) for name in names}
        return bool(Licence.objects.filter(pk=self.licence.pk, **as_read).update(**self.fields))


def review_quotas(now: datetime, lease: Lease, *, sends: bool = True) -> int:
    """Compare each quota with the usage of the current period, and return the number of warnings sent.

    Marks and messages are written in one transaction. Unless it `sends`, quotas are marked as warned of without a
    message. Raises LeaseLost.
    """
    limited = list(Licence.objects.exclude(WITHOUT_QUOTA).order_by("pk"))
    statuses = quota_statuses(limited, now)
    with in_portal_language():
        found = [find_update(licence, statuses[licence.ref]) for licence in limited]
        updates = [update for update in found if update is not None]
        updates += [
            LicenceUpdate(licence, {"exceeded_until": None, "exceeded_since": None, **NO_WARNING})
            for licence in Licence.objects.filter(WITHOUT_QUOTA, exceeded_until__gt=now)
        ]
        if not updates:
            return 0
        with transaction.atomic():
            lease.extend()
            saved = [update for update in updates if update.save()]
            notices = [update.notice for update in saved if update.notice and sends]
            notify(*notices)
    return len(notices)


def find_update(licence: Licence, status: QuotaStatus) -> LicenceUpdate | None:
    """Return what has to change, if anything. Marks of a past period stay: they expire by themselves."""
    fields: dict[str, datetime | date | int | None] = {}
    until = status.period.end if status.is_used_up else None
    marked_until = licence.exceeded_until
    is_marked_otherwise = until != (marked_until if marked_until and marked_until > status.now else None)
    if is_marked_otherwise or (until and licence.exceeded_since is None):
        fields |= {"exceeded_until": until, "exceeded_since": status.now if until else None}
    warned = licence.told_percent if licence.told_period == status.period.first_day else 0
    reached = FULL if status.is_used_up else NEAR if (status.percent or 0) >= NEAR else 0
    if reached != warned:  # lower if the quota was raised outside the admin
        fields |= {"told_period": status.period.first_day, "told_percent": reached}
    notice = quota_warning(licence, status, reached) if reached > warned else None
    return LicenceUpdate(licence, fields, notice) if fields else None


# --- Messages --------------------------------------------------------------------------------------------------------


def quota_warning(licence: Licence, status: QuotaStatus, percent: int) -> Notice:
    titles = {
        NEAR: _("%(licence)s has used 80 %% of its quota"),
        FULL: _("%(licence)s has used its whole quota"),
    }
    period = status.period
    lines = [describe_usage(status), describe_reporters(licence, period), describe_forecast(status)]
    lines.append(_("The quota renews on %(day)s.") % {"day": format_day(timezone.localdate(period.end))})
    return Notice(
        subject=licence_subject(licence),
        severity=Severity.WARNING,
        title=titles[percent] % {"licence": licence},
        text="\n".join(line for line in lines if line),
        dedupe_key=f"licence:{licence.pk}:{period.first_day}:{percent}:{licence.monthly_page_quota}",
        path=reverse("admin:usage_licence_change", args=[licence.pk]),
    )


def describe_reporters(licence: Licence, period: Period) -> str:
    """Name the tokens that reported most of the pages, so that a wrong or forged report can be traced."""
    runs = Run.objects.filter(license_ref=licence.ref, hour__gte=period.start, implausible=False)
    most = runs.order_by().values_list("reported_by").annotate(pages=Sum("total_pages")).order_by("-pages")
    names = [
        _("%(token)s (%(pages)s pages)") % {"token": token, "pages": format_count(pages)}
        for token, pages in most[:REPORTERS_SHOWN]
    ]
    return _("Reported by %(tokens)s.") % {"tokens": ", ".join(names)} if names else ""


def licence_subject(licence: Licence) -> str:
    return f"licence:{licence.ref}"


def format_day(day: date) -> str:
    return date_format(day, "MONTH_DAY_FORMAT")


def describe_usage(status: QuotaStatus) -> str:
    values = {"pages": format_count(status.pages), "day": format_day(status.period.first_day)}
    if status.quota is None:
        return _("%(pages)s pages since %(day)s.") % values
    values |= {"quota": format_count(status.quota), "percent": format_count(status.percent or 0)}
    return _("%(pages)s of %(quota)s pages since %(day)s (%(percent)s %%).") % values


def describe_forecast(status: QuotaStatus) -> str:
    """Return the forecast as a sentence, empty without a pace."""
    expected = status.expected
    if expected is None:
        return ""
    if status.used_up_on:
        return _("At this pace, the quota is used up on %(day)s.") % {"day": format_day(status.used_up_on)}
    values = {"pages": format_count(expected)}
    if status.quota is None:
        return _("At this pace, %(pages)s pages by the end of the month.") % values
    values["percent"] = format_count(expected * 100 // status.quota)
    return _("At this pace, %(pages)s pages by the end of the month (%(percent)s %% of quota).") % values
