"""What was consumed, read from the hours of usage alone, and for how long a quota lasts.

Days and months are those of the portal's time zone; an hour belongs to the one in which it begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from django.db.models import Case, Min, QuerySet, Sum, Value, When
from django.utils import timezone

from usage.models import Licence, RunRollup

DAY = timedelta(days=1)
# Four whole weeks: a pace that knew working days only would promise too little, one of a week-end too much.
PACE_DAYS = 28
SHOWN_PERIODS = 12


# --- Days and periods ------------------------------------------------------------------------------------------------


def midnight(day: date) -> datetime:
    """The first moment of the day; in UTC, for hours of one zone are not told apart when its clocks are set back."""
    return timezone.make_aware(datetime.combine(day, time.min)).astimezone(UTC)


@dataclass(frozen=True)
class Period:
    """From `start` up to, and without, `end`."""

    start: datetime
    end: datetime

    @property
    def first_day(self) -> date:
        return timezone.localdate(self.start)


def period_at(moment: datetime, period_day: int) -> Period:
    """The month of a licence that the moment falls into."""
    today = timezone.localdate(moment)
    first = today.replace(day=period_day)
    if first > today:
        first = month_before(first)
    return Period(midnight(first), midnight(month_after(first)))


def latest_periods(moment: datetime, period_day: int, count: int = SHOWN_PERIODS) -> list[Period]:
    """The running one and those before it, newest first."""
    found = [period_at(moment, period_day)]
    while len(found) < count:
        newest = found[-1]
        found.append(Period(midnight(month_before(newest.first_day)), newest.start))
    return found


def month_after(day: date) -> date:
    return (day.replace(day=1) + 31 * DAY).replace(day=day.day)


def month_before(day: date) -> date:
    return (day.replace(day=1) - DAY).replace(day=day.day)


# --- Sums ------------------------------------------------------------------------------------------------------------


class Sums(NamedTuple):
    runs: int = 0
    documents: int = 0
    succeeded: int = 0
    failed: int = 0
    pages: int = 0


SUMMED = [Sum(name) for name in Sums._fields]


def total(parts: Iterable[Sums]) -> Sums:
    columns = list(zip(*parts, strict=True))
    return Sums(*map(sum, columns)) if columns else Sums()


def by_day(hours: QuerySet[RunRollup]) -> dict[date, Sums]:
    """Summed by the hour, and days made of those here: SQLite would ask Python for the day of each row."""
    found: dict[date, list[Sums]] = defaultdict(list)
    for hour, *figures in hours.order_by().values_list("hour").annotate(*SUMMED):
        found[timezone.localdate(hour)].append(Sums(*figures))
    return {day: total(parts) for day, parts in found.items()}


def by_names(hours: QuerySet[RunRollup], *names: str) -> dict[tuple[str, ...], Sums]:
    """By the values of these fields."""
    rows = hours.order_by().values_list(*names).annotate(*SUMMED)
    return {tuple(row[: len(names)]): Sums(*row[len(names) :]) for row in rows}


def marked(hours: QuerySet[RunRollup], marks: Sequence[datetime]) -> QuerySet[Any]:
    """The hours from the first of the marks on, which stand in order; `mark` numbers the last one not after each."""
    cases = [When(hour__gte=mark, then=Value(number)) for number, mark in enumerate(marks)]
    found: QuerySet[Any] = hours.filter(hour__gte=marks[0]).annotate(mark=Case(*reversed(cases)))
    return found.order_by()


def by_period(ref: str, periods: Sequence[Period]) -> list[Sums]:
    """Of one licence, in the order given: newest first. One query."""
    starts = [period.start for period in reversed(periods)]
    rows = marked(RunRollup.objects.filter(license_ref=ref), starts).values_list("mark").annotate(*SUMMED)
    found = {mark: Sums(*figures) for mark, *figures in rows}
    return [found.get(number, Sums()) for number in reversed(range(len(starts)))]


# --- How a licence stands --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """How a licence stands `now`, in its running period: `pages` of its `quota`, None where it has none.

    `pace` is pages a day: what the last finished days came to, up to 28 of them, by their number; days before the
    first run do not count, and without a finished day there is none. Every day weighs the same.
    """

    now: datetime
    period: Period
    quota: int | None = None
    pages: int = 0
    pace: float | None = None

    @property
    def percent(self) -> int | None:
        """Rounded down: 100 stands for a quota that is used up."""
        return None if self.quota is None else self.pages * 100 // self.quota

    @property
    def is_used_up(self) -> bool:
        return self.quota is not None and self.pages >= self.quota

    @property
    def expected(self) -> int | None:
        """Pages at the end of the period, at this pace."""
        if self.pace is None:
            return None
        return self.pages + round(self.pace * ((self.period.end - self.now) / DAY))

    @property
    def used_up_on(self) -> date | None:
        """The day on which, at this pace, the quota is reached; None where that is not in this period, or was."""
        if self.quota is None or self.is_used_up or not self.pace:
            return None
        days = (self.quota - self.pages) / self.pace
        return timezone.localdate(self.now + days * DAY) if days < (self.period.end - self.now) / DAY else None


@dataclass
class Tally:
    """What marked hours of a licence came to: pages by the number of their mark, and the first hour of each."""

    pages: dict[int, int]
    first: dict[int, datetime]


def standings(licences: Collection[Licence], now: datetime) -> dict[str, Standing]:
    """Of each licence, by its ref; one query, whatever days their months begin on."""
    today = timezone.localdate(now)
    since, until = midnight(today - PACE_DAYS * DAY), midnight(today)
    periods = {licence.ref: period_at(now, licence.period_day) for licence in licences}
    marks = sorted({since, until, *(period.start for period in periods.values())})
    tallies = tallied([*periods], marks)
    window = range(marks.index(since), marks.index(until))
    found = {}
    for licence in licences:
        period, tally = periods[licence.ref], tallies[licence.ref]
        pages = sum(tally.pages.get(mark, 0) for mark in range(marks.index(period.start), len(marks)))
        pace = pace_of(licence, tally, window, today)
        found[licence.ref] = Standing(now, period, licence.monthly_page_quota, pages, pace)
    return found


def tallied(refs: list[str], marks: Sequence[datetime]) -> dict[str, Tally]:
    found: dict[str, Tally] = defaultdict(lambda: Tally({}, {}))
    hours = marked(RunRollup.objects.filter(license_ref__in=refs), marks)
    for ref, mark, pages, first in hours.values_list("license_ref", "mark").annotate(Sum("pages"), Min("hour")):
        found[ref].pages[mark], found[ref].first[mark] = pages, first
    return found


def pace_of(licence: Licence, tally: Tally, window: range, today: date) -> float | None:
    """See Standing. What a spool reports late may have been before the licence was first seen."""
    seen = [tally.first[mark] for mark in window if mark in tally.first]
    seen += [licence.first_seen_at] if licence.first_seen_at else []
    days = min((today - timezone.localdate(min(seen))).days, PACE_DAYS) if seen else 0
    return sum(tally.pages.get(mark, 0) for mark in window) / days if days >= 1 else None
