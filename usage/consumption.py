"""Sum up usage by day, by billing period and by name. Reads hourly rollups only, never runs.

Days and months are those of the portal's time zone. An hour belongs to the day in which it begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db.models import Case, QuerySet, Sum, Value, When
from django.utils import timezone

from portal.base.moments import midnight
from usage.models import RunRollup

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SHOWN_PERIODS = 12
# The ranges of days that the dashboard offers, and the longest that it accepts.
DASHBOARD_SPANS = (7, 30, 90, 364)
LONGEST_RANGE = 366
# Seconds for which its totals are cached, by number of days at most: adding up a year of hours takes a second.
CACHE_SECONDS = {31: 60, 92: 300, LONGEST_RANGE: 600}


# --- Days and periods ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Period:
    """The half-open interval from `start` to `end`."""

    start: datetime
    end: datetime

    @property
    def first_day(self) -> date:
        return timezone.localdate(self.start)

    @property
    def last_day(self) -> date:
        return timezone.localdate(self.end) - DAY


def period_at(moment: datetime, period_day: int) -> Period:
    """Return the period of a licence that contains the moment."""
    today = timezone.localdate(moment)
    first = today.replace(day=period_day)
    if first > today:
        first = month_before(first)
    return Period(midnight(first), midnight(month_after(first)))


def latest_periods(moment: datetime, period_day: int, count: int = SHOWN_PERIODS) -> list[Period]:
    """Return the current period and the ones before it, newest first."""
    periods = [period_at(moment, period_day)]
    while len(periods) < count:
        oldest = periods[-1]
        periods.append(Period(midnight(month_before(oldest.first_day)), oldest.start))
    return periods


def periods_since(first_use: datetime | None, periods: Sequence[Period], totals: Sequence[UsageTotals]) -> int:
    """Return how many of the periods, newest first, are needed to show all usage, and the time since the first use."""
    used = [
        index
        for index, (period, found) in enumerate(zip(periods, totals, strict=True))
        if found.runs or (first_use is not None and period.start <= first_use < period.end)
    ]
    return max(used, default=0) + 1


def month_after(day: date) -> date:
    return (day.replace(day=1) + 31 * DAY).replace(day=day.day)


def month_before(day: date) -> date:
    return (day.replace(day=1) - DAY).replace(day=day.day)


# --- Totals ----------------------------------------------------------------------------------------------------------


class UsageTotals(NamedTuple):
    runs: int = 0
    documents: int = 0
    succeeded: int = 0
    failed: int = 0
    pages: int = 0


SUMS = [Sum(name) for name in UsageTotals._fields]


def add_totals(parts: Iterable[UsageTotals]) -> UsageTotals:
    columns = list(zip(*parts, strict=True))
    return UsageTotals(*map(sum, columns)) if columns else UsageTotals()


def totals_by_day(hours: QuerySet[RunRollup]) -> dict[date, UsageTotals]:
    """Group by hour in SQL and by day here: on SQLite, TruncDate calls Python for each row."""
    parts: dict[date, list[UsageTotals]] = defaultdict(list)
    for hour, *sums in hours.order_by().values_list("hour").annotate(*SUMS):
        parts[timezone.localdate(hour)].append(UsageTotals(*sums))
    return {day: add_totals(of_day) for day, of_day in parts.items()}


def totals_by(hours: QuerySet[RunRollup], *fields: str) -> dict[tuple[str, ...], UsageTotals]:
    """Return the totals by the values of these fields."""
    rows = hours.order_by().values_list(*fields).annotate(*SUMS)
    return {tuple(row[: len(fields)]): UsageTotals(*row[len(fields) :]) for row in rows}


def with_segments(hours: QuerySet[RunRollup], starts: Sequence[datetime]) -> QuerySet[Any]:
    """Annotate each hour with `segment`, the index of the last start that is not after it.

    `starts` is sorted. Hours before the first start are left out.
    """
    cases = [When(hour__gte=start, then=Value(index)) for index, start in enumerate(starts)]
    segmented: QuerySet[Any] = hours.filter(hour__gte=starts[0]).annotate(segment=Case(*reversed(cases)))
    return segmented.order_by()


def totals_by_period(ref: str, periods: Sequence[Period]) -> list[UsageTotals]:
    """Return a licence's totals for consecutive periods, newest first, in the same order. One query."""
    starts = [period.start for period in reversed(periods)]
    rows = with_segments(RunRollup.objects.filter(license_ref=ref), starts).values_list("segment").annotate(*SUMS)
    by_segment = {segment: UsageTotals(*sums) for segment, *sums in rows}
    return [by_segment.get(index, UsageTotals()) for index in reversed(range(len(starts)))]


# --- The dashboard ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DashboardTotals:
    """The totals of all licences in a range, read at `made_at`. `by_version` is keyed by application and version."""

    made_at: datetime
    by_day: dict[date, UsageTotals]
    by_licence: dict[str, UsageTotals]
    by_version: dict[tuple[str, ...], UsageTotals]


@dataclass(frozen=True)
class DayRange:
    """The days from the first to the last, both included."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        return [self.first + number * DAY for number in range((self.last - self.first).days + 1)]

    @property
    def since(self) -> datetime:
        return midnight(self.first)

    @property
    def until(self) -> datetime:
        return midnight(self.last + DAY)


def latest_days(now: datetime, count: int) -> DayRange:
    """Return the last `count` days, today included."""
    today = timezone.localdate(now)
    return DayRange(today - (count - 1) * DAY, today)


def dashboard_totals(now: datetime, shown: DayRange) -> DashboardTotals:
    """Return the totals of a range of LONGEST_RANGE days at most, as old as CACHE_SECONDS allows."""
    seconds = next(seconds for days, seconds in CACHE_SECONDS.items() if len(shown.days) <= days)
    key = f"usage.figures.{shown.first}.{shown.last}"
    totals: DashboardTotals = cache.get_or_set(key, lambda: read_dashboard_totals(now, shown), seconds)  # type: ignore[assignment]
    return totals


def read_dashboard_totals(now: datetime, shown: DayRange) -> DashboardTotals:
    hours = RunRollup.objects.filter(hour__gte=shown.since, hour__lt=shown.until)
    licences: dict[str, list[UsageTotals]] = defaultdict(list)
    versions: dict[tuple[str, ...], list[UsageTotals]] = defaultdict(list)
    for (ref, *version), totals in totals_by(hours, "license_ref", "app_name", "app_version").items():
        licences[ref].append(totals)
        versions[tuple(version)].append(totals)
    return DashboardTotals(
        made_at=now,
        by_day=totals_by_day(hours),
        by_licence={ref: add_totals(parts) for ref, parts in licences.items()},
        by_version={version: add_totals(parts) for version, parts in versions.items()},
    )
