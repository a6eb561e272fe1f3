"""The plan of an expected backup: by hour and days of the week, or by a cron expression in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from typing import Any

from backups import cycles
from portal.base import cron

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
LONGEST_PAUSE, DAY = timedelta(days=366), timedelta(days=1)
FRESH_EVERY_DAY, FRESH_ON_DAYS = timedelta(days=2), timedelta(days=9)


def plan_of(job: Any) -> cycles.Plan:
    """The plan of a job, or of a row with its columns. Raises ValueError where a day of the week is none."""
    early, window = timedelta(minutes=job.early_minutes), timedelta(minutes=job.window_minutes)
    if job.schedule:
        return cycles.Plan(time(), frozenset(), early, window, job.schedule, job.time_zone)
    return cycles.plan(
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
