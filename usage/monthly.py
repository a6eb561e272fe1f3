"""Sum up usage by licence, month and application: the rows of the usage export and of monthly statements.

A month is the billing period of the licence. Reads hourly rollups only, so that ten million runs take seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from usage.consumption import SHOWN_PERIODS, SUMS, Period, UsageTotals, latest_periods, with_segments
from usage.models import Licence, RunRollup

LICENCES_AT_A_TIME = 500


@dataclass(frozen=True)
class Month:
    """A billing period, or the part of it that lies within the exported range."""

    period: Period
    is_whole: bool = True


@dataclass(frozen=True)
class MonthlyUsage:
    """The totals of an application in a month of a licence."""

    licence: Licence
    application: str
    month: Month
    totals: UsageTotals

    @property
    def percent(self) -> float | None:
        """Return the share of the quota, rounded down to a decimal; None without a quota, or for part of a month."""
        quota = self.licence.monthly_page_quota
        return self.totals.pages * 1_000 // quota / 10 if quota and self.month.is_whole else None


# Months of a licence by the day on which they begin, oldest first.
MonthsOf = Callable[[int], list[Month]]


def latest_months(now: datetime, count: int = SHOWN_PERIODS) -> MonthsOf:
    """Return the months that the page of a licence shows: the current one and the ones before it."""
    return lambda period_day: [Month(period) for period in reversed(latest_periods(now, period_day, count))]


def months_between(since: datetime, until: datetime, now: datetime) -> MonthsOf:
    """Return the months that overlap the interval, the first and the last cut to it."""

    def months_of(period_day: int) -> list[Month]:
        months: list[Month] = []
        # The interval ends with a day, so its last instant is in the last month.
        moment = until - datetime.resolution
        while moment >= since:
            period = latest_periods(moment, period_day, 1)[0]
            cut = Period(max(period.start, since), min(period.end, until))
            is_whole = period.start >= since and (period.end <= until or until > now)
            months.append(Month(cut, is_whole))
            moment = period.start - datetime.resolution
        return months[::-1]

    return months_of


def monthly_usage(licences: Iterable[Licence], months_of: MonthsOf) -> Iterator[MonthlyUsage]:
    """Yield usage in the order of the licences, then by month and application. Months without runs are left out."""
    remaining = iter(licences)
    while batch := list(islice(remaining, LICENCES_AT_A_TIME)):
        yield from sum_batch(batch, months_of)


def sum_batch(licences: Sequence[Licence], months_of: MonthsOf) -> Iterator[MonthlyUsage]:
    """Sum up the months of some licences, with one query for each day on which their months begin."""
    refs_by_day: defaultdict[int, list[str]] = defaultdict(list)
    for licence in licences:
        refs_by_day[licence.period_day].append(licence.ref)
    rows: defaultdict[str, list[tuple[int, str, UsageTotals]]] = defaultdict(list)
    months = {period_day: months_of(period_day) for period_day in refs_by_day}
    for period_day, refs in refs_by_day.items():
        for ref, index, application, *sums in totals_by_month(refs, months[period_day]):
            rows[ref].append((index, application, UsageTotals(*sums)))
    for licence in licences:
        for index, application, totals in sorted(rows[licence.ref]):
            yield MonthlyUsage(licence, application, months[licence.period_day][index], totals)


def totals_by_month(refs: Sequence[str], months: Sequence[Month]) -> Iterable[Any]:
    """Return licence, index of the month, application and sums."""
    if not months:
        return []
    hours = RunRollup.objects.filter(license_ref__in=refs, hour__lt=months[-1].period.end)
    segmented = with_segments(hours, [month.period.start for month in months])
    rows: Iterable[Any] = segmented.values_list("license_ref", "segment", "app_name").annotate(*SUMS)
    return rows
