"""When a backup is expected: cycles, each one expected moment with the time that belongs to it.

All of it is arithmetic on UTC, without a database; only a cron expression knows its time zone. Candidate times are
walked, hours and minutes never compared, so that midnight and the end of a week are times like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from typing import Any

from portal.base import cron

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
DAY = timedelta(days=1)
# What a plan is made of, with `early_minutes` and `window_minutes`.
PLANNED_BY = (
    "expected_hour_utc",
    "expected_minute_utc",
    "expected_frequency",
    "days_of_week",
    "schedule",
    "time_zone",
)
# Any time does for plans of days and weeks; a cron expression shows its longest pause within two years.
SOME_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
LOOKED_AT, MOST_TIMES = timedelta(days=2 * 366), 400
LONGEST_PAUSE = timedelta(days=366)
FRESH_EVERY_DAY, FRESH_ON_DAYS = timedelta(days=2), timedelta(days=9)


@dataclass(frozen=True)
class Plan:
    """`weekdays` are 0 (Monday) to 6. A backup may come `early`, and is missed once `window` is over.

    With a `schedule`, a cron expression in `zone`, neither `at` nor `weekdays` counts.
    """

    at: time
    weekdays: frozenset[int]
    early: timedelta
    window: timedelta
    schedule: str = ""
    zone: str = "UTC"


@dataclass(frozen=True)
class Cycle:
    """A report belongs to the cycle from `opens` until `closes`, where the next opens; after `deadline` it is late."""

    at: datetime
    opens: datetime
    deadline: datetime
    closes: datetime

    def holds(self, moment: datetime) -> bool:
        return self.opens <= moment < self.closes


def weekdays(text: str) -> frozenset[int]:
    """`MO,TH` (RFC 5545) as 0 and 3. Raises ValueError for any other word."""
    words = [word for word in text.replace(";", ",").replace(" ", ",").upper().split(",") if word]
    return frozenset(DAYS.index(word) for word in words)


def plan(hour: int, minute: int, weekly: bool, days: str, early: timedelta, window: timedelta) -> Plan:
    """Without days: every day, or Mondays where it is weekly."""
    chosen = weekdays(days) or (frozenset({0}) if weekly else frozenset(range(7)))
    return Plan(time(hour, minute), chosen, early, window)


def moments(plan: Plan, around: datetime, step: int) -> Iterator[datetime]:
    """The expected times from `around` on, forwards or backwards; without a schedule, from its day on."""
    if plan.schedule:
        yield from cron.cron_times(plan.schedule, plan.zone, around, backward=step < 0)
        return
    day = around.astimezone(UTC).date()
    while True:
        if day.weekday() in plan.weekdays:
            yield datetime.combine(day, plan.at, UTC)
        day += step * DAY


def opening(plan: Plan, at: datetime) -> datetime:
    """Never before the moment expected last: however early, a backup is not earlier than the one before."""
    before = next(moment for moment in moments(plan, at, -1) if moment < at)
    return max(at - plan.early, before)


def cycle_of(plan: Plan, at: datetime) -> Cycle:
    """The cycle of an expected moment."""
    after = next(moment for moment in moments(plan, at, 1) if moment > at)
    closes = opening(plan, after)
    return Cycle(at, opening(plan, at), min(at + plan.window, closes), closes)


@lru_cache(maxsize=1024)
def current(plan: Plan, now: datetime) -> Cycle:
    """The latest cycle that has opened. Many jobs share a plan, and a cron expression takes time to walk."""
    candidates = moments(plan, now + plan.early + DAY, -1)
    return cycle_of(plan, next(at for at in candidates if opening(plan, at) <= now))


def earlier(plan: Plan, cycle: Cycle) -> Iterator[Cycle]:
    """The cycles before it, latest first, without end."""
    return (cycle_of(plan, at) for at in moments(plan, cycle.at, -1) if at < cycle.at)


def upcoming(plan: Plan, now: datetime) -> datetime:
    """The next expected moment."""
    return next(at for at in moments(plan, now, 1) if at > now)


# --- The plan of a job ------------------------------------------------------------------------------------------------


def plan_of(job: Any) -> Plan:
    """The plan of a job, or of a row with its columns. Raises ValueError where a day of the week is none."""
    early, window = timedelta(minutes=job.early_minutes), timedelta(minutes=job.window_minutes)
    if job.schedule:
        return Plan(time(), frozenset(), early, window, job.schedule, job.time_zone)
    return plan(
        job.expected_hour_utc,
        job.expected_minute_utc,
        job.expected_frequency == "weekly",
        job.days_of_week,
        early,
        window,
    )


@lru_cache(maxsize=1024)
def pauses(schedule: str, zone: str) -> tuple[timedelta, timedelta]:
    """The shortest and the longest time between two times of a cron expression.

    Raises ValueError for an expression that is none, and for one that pauses for more than a year.
    """
    until = SOME_MONDAY + LOOKED_AT
    within = takewhile(lambda moment: moment <= until, cron.cron_times(schedule, zone, SOME_MONDAY))
    found = list(islice(within, MOST_TIMES))
    ends = [] if len(found) == MOST_TIMES else [until]
    longest = max(after - before for before, after in pairwise([SOME_MONDAY, *found, *ends]))
    if longest > LONGEST_PAUSE:
        raise ValueError("there are more than 366 days between two times")
    return min((after - before for before, after in pairwise(found)), default=longest), longest


def freshness_of(job: Any) -> timedelta:
    """How long a verified backup protects: by then, one that was expected since and did not come has been recorded.

    Where days are named a week may pass, and with a cron expression its longest pause.
    """
    if not job.schedule:
        return FRESH_EVERY_DAY if job.expected_frequency == "daily" and not job.days_of_week else FRESH_ON_DAYS
    try:
        return max(pauses(job.schedule, job.time_zone)[1], DAY) + DAY
    except ValueError:
        return FRESH_EVERY_DAY
