"""Timetables of expected backups, and their cycles: each expected time with the period that belongs to it.

Pure arithmetic on UTC; only a cron expression has a time zone. Candidate times are iterated instead of comparing hours
and minutes, so that midnight and the end of a week need no special case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from typing import Any

from portal.base import cron

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
DAY = timedelta(days=1)
# The columns that decide the expected times; `early_minutes` and `window_minutes` complete a timetable.
TIMETABLE_FIELDS = (
    "expected_hour_utc", "expected_minute_utc", "expected_frequency", "days_of_week", "schedule", "time_zone",
)  # fmt: skip
# Any week represents a timetable of weekdays; a cron expression shows its longest gap within two years.
SOME_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
GAP_HORIZON, MAX_TIMES = timedelta(days=2 * 366), 400
LONGEST_GAP = timedelta(days=366)
# `30 2 * * *` or `30 2 * * 1,4`: what a form shows as a time of day and weekdays.
DAILY_SCHEDULE = re.compile(r"([0-5]?\d) ([01]?\d|2[0-3]) \* \* (\*|[0-7](?:,[0-7])*)")
FRESH_EVERY_DAY, FRESH_ON_DAYS = timedelta(days=2), timedelta(days=9)
# The longest time from a deadline until a scan has recorded that a backup is missing.
SCANNED_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Timetable:
    """The expected times of a backup, and how far from each it may arrive: from `early` before to `window` after.

    `weekdays` are 0 (Monday) to 6. A cron expression, `schedule` in `zone`, replaces `at` and `weekdays`.
    """

    at: time
    weekdays: frozenset[int]
    early: timedelta
    window: timedelta
    schedule: str = ""
    zone: str = "UTC"


@dataclass(frozen=True)
class Cycle:
    """An expected time. Reports from `opens` until `closes`, when the next one opens, belong to it.

    After `deadline` they are late.
    """

    at: datetime
    opens: datetime
    deadline: datetime
    closes: datetime

    def contains(self, moment: datetime) -> bool:
        return self.opens <= moment < self.closes


def parse_weekdays(text: str) -> frozenset[int]:
    """Parse `MO,TH` (RFC 5545) into 0 and 3. Raises ValueError for an unknown weekday."""
    words = [word for word in text.replace(";", ",").replace(" ", ",").upper().split(",") if word]
    return frozenset(DAYS.index(word) for word in words)


def expected_times(timetable: Timetable, around: datetime, step: int) -> Iterator[datetime]:
    """Yield the expected times from `around` on, or back with a negative `step`, beginning with its whole day."""
    if timetable.schedule:
        yield from cron.cron_times(timetable.schedule, timetable.zone, around, backward=step < 0)
        return
    day = around.astimezone(UTC).date()
    while True:
        if day.weekday() in timetable.weekdays:
            yield datetime.combine(day, timetable.at, UTC)
        day += step * DAY


def opening_time(timetable: Timetable, at: datetime) -> datetime:
    """Return when the cycle of an expected time opens, which is never before the previous expected time."""
    before = next(moment for moment in expected_times(timetable, at, -1) if moment < at)
    return max(at - timetable.early, before)


def make_cycle(timetable: Timetable, at: datetime) -> Cycle:
    after = next(moment for moment in expected_times(timetable, at, 1) if moment > at)
    closes = opening_time(timetable, after)
    return Cycle(at, opening_time(timetable, at), min(at + timetable.window, closes), closes)


@lru_cache(maxsize=1024)
def current_cycle(timetable: Timetable, now: datetime) -> Cycle:
    """Return the latest cycle that has opened. Cached: many jobs share a timetable, and cron expressions are slow."""
    candidates = expected_times(timetable, now + timetable.early + DAY, -1)
    return make_cycle(timetable, next(at for at in candidates if opening_time(timetable, at) <= now))


def earlier_cycles(timetable: Timetable, cycle: Cycle) -> Iterator[Cycle]:
    """Yield the cycles before it, latest first, without end."""
    return (make_cycle(timetable, at) for at in expected_times(timetable, cycle.at, -1) if at < cycle.at)


def next_expected_time(timetable: Timetable, now: datetime) -> datetime:
    return next(at for at in expected_times(timetable, now, 1) if at > now)


# --- Times by the clock of a place ------------------------------------------------------------------------------------


def daily_schedule(at: time, weekdays: frozenset[int]) -> str:
    """Return the cron expression of a time of day on some weekdays, none of which stands for all."""
    days = ",".join(sorted(str((day + 1) % 7) for day in weekdays)) if 0 < len(weekdays) < 7 else "*"
    return f"{at.minute} {at.hour} * * {days}"


def parse_daily_schedule(schedule: str) -> tuple[time, frozenset[int]] | None:
    """Return the time of day and the weekdays of a cron expression, or None if it says anything else."""
    found = DAILY_SCHEDULE.fullmatch(schedule)
    if found is None:
        return None
    at = time(int(found[2]), int(found[1]))
    days = range(1, 8) if found[3] == "*" else map(int, found[3].split(","))
    return at, frozenset((day - 1) % 7 for day in days)


# --- The timetable of a job ------------------------------------------------------------------------------------------


def timetable_of(job: Any) -> Timetable:
    """Return the timetable of a job or of a row with its columns. Raises ValueError for an unknown weekday.

    Without weekdays, it is every day, or every Monday if weekly.
    """
    early, window = timedelta(minutes=job.early_minutes), timedelta(minutes=job.window_minutes)
    if job.schedule:
        return Timetable(time(), frozenset(), early, window, job.schedule, job.time_zone)
    default = frozenset({0}) if job.expected_frequency == "weekly" else frozenset(range(7))
    at = time(job.expected_hour_utc, job.expected_minute_utc)
    return Timetable(at, parse_weekdays(job.days_of_week) or default, early, window)


@lru_cache(maxsize=1024)
def measure_gaps(schedule: str, zone: str) -> tuple[timedelta, timedelta]:
    """Return the shortest and the longest gap between two times of a cron expression.

    Raises ValueError for an invalid expression, and for a gap of more than a year.
    """
    until = SOME_MONDAY + GAP_HORIZON
    within = takewhile(lambda moment: moment <= until, cron.cron_times(schedule, zone, SOME_MONDAY))
    found = list(islice(within, MAX_TIMES))
    ends = [] if len(found) == MAX_TIMES else [until]
    longest = max(after - before for before, after in pairwise([SOME_MONDAY, *found, *ends]))
    if longest > LONGEST_GAP:
        raise ValueError("there are more than 366 days between two times")
    return min((after - before for before, after in pairwise(found)), default=longest), longest


def freshness_period(job: Any) -> timedelta:
    """Return how long a verified backup protects: until the next one, if it is missed, has been recorded.

    With weekdays, the next one may be a week away, and with a cron expression its longest gap. The first may have come
    early, and the next one may be late, together by a gap at most.
    """
    if not job.schedule:
        is_every_day = job.expected_frequency == "daily" and not job.days_of_week
        gap, shortest = (DAY, FRESH_EVERY_DAY) if is_every_day else (7 * DAY, FRESH_ON_DAYS)
    else:
        try:
            gap = measure_gaps(job.schedule, job.time_zone)[1]
        except ValueError:
            return FRESH_EVERY_DAY
        shortest = max(gap, DAY) + DAY
    tolerance = timedelta(minutes=job.early_minutes + job.window_minutes)
    return max(shortest, gap + min(tolerance, gap) + SCANNED_AFTER)
