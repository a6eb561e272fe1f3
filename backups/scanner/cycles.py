"""When a backup is expected: cycles, each one expected moment with the time that belongs to it.

All of it is arithmetic on UTC, without a database; only a cron expression knows its time zone. Candidate times are
walked, hours and minutes never compared, so that midnight and the end of a week are times like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from portal import cron

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
DAY = timedelta(days=1)
WEEK = 7 * DAY


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
        yield from cron.times(plan.schedule, plan.zone, around, backward=step < 0)
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
