"""Estimate how long people were active, from their sessions.

- A session with an end counts from start to end, within the period. An end in the future is ignored.
- Most sessions have no end. Such a session counts while events of its person are at most half an hour apart. Events
  are the start itself, and the requests and errors in the period, up to SESSION_COOKIE_AGE after the start: a portal
  session is over then. The same limit holds for client applications, so that a nightly job does not count as a person
  who never leaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Func, Max, Min, Q, QuerySet, TextField
from django.utils import timezone

from usage.models import FeatureUsage, UserError, UserSession
from usage.models.activity import PEOPLE

MAX_GAP = timedelta(minutes=30)
NO_GAP = timedelta(0)
Interval = tuple[datetime, datetime]
Intervals = dict[str, list[Interval]]
Rows = QuerySet[Any]


def active_seconds(start: datetime, end: datetime) -> dict[str, float]:
    """Return the active time of each person with a session that began in the period or lasted into it."""
    sessions = UserSession.objects.filter(PEOPLE, session_start__lt=end).order_by()
    has_ended = Q(session_end__lte=timezone.now())
    ended = ended_sessions(sessions.filter(has_ended), start, end)
    ongoing = open_sessions(sessions.exclude(has_ended), start, end)
    return {
        person: covered_seconds([*ended.get(person, ()), *merge(ongoing.get(person, ()), MAX_GAP)])
        for person in ended.keys() | ongoing.keys()
    }


# --- Intervals -------------------------------------------------------------------------------------------------------


def merge(intervals: Iterable[Interval], max_gap: timedelta) -> list[Interval]:
    """Sort the intervals, and join those that overlap or are no further apart than `max_gap`."""
    merged: list[Interval] = []
    for since, until in sorted(intervals):
        if merged and since - merged[-1][1] <= max_gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def covered_seconds(intervals: Iterable[Interval]) -> float:
    return sum((until - since).total_seconds() for since, until in merge(intervals, NO_GAP))


def clip(spans: Iterable[Interval], first: datetime, last: datetime) -> list[Interval]:
    """Return the parts of the spans between the two times."""
    return [(max(first, since), min(last, until)) for since, until in spans if since <= last and first <= until]


# --- Sessions --------------------------------------------------------------------------------------------------------


def ended_sessions(sessions: Rows, start: datetime, end: datetime) -> Intervals:
    intervals: defaultdict[str, list[Interval]] = defaultdict(list)
    rows = sessions.filter(session_end__gte=start).values_list("user_email", "session_start", "session_end")
    for person, began, ended in rows:
        # A session that ended exactly at the start is outside the period, unless it also began then.
        if began >= start or ended > start:
            since = max(began, start)
            intervals[person].append((since, max(since, min(ended, end))))
    return intervals


def open_sessions(sessions: Rows, start: datetime, end: datetime) -> Intervals:
    """Return the times of events in the period, those of the same half hour as one interval, by person."""
    longest = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    sessions = sessions.filter(session_start__gt=start - longest)
    possible: defaultdict[str, list[Interval]] = defaultdict(list)
    intervals: defaultdict[str, list[Interval]] = defaultdict(list)
    for person, began in sessions.values_list("user_email", "session_start"):
        possible[person].append((began, began + longest))
        if began >= start:
            intervals[person].append((began, began))
    if not possible:
        return intervals
    spans = {person: merge(each, NO_GAP) for person, each in possible.items()}
    for model in (FeatureUsage, UserError):
        rows = model.objects.filter(timestamp__gte=start, timestamp__lt=end).order_by()
        for person, first, last in half_hour_bounds(rows.filter(user_email__in=sessions.values("user_email"))):
            intervals[person] += clip(spans[person], first, last)
    return intervals


def half_hour_bounds(rows: Rows) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield the first and the last time of each person and half hour.

    Events between the two are at most MAX_GAP from their neighbors, so no others need to be read.
    """
    grouped = rows.values("user_email", half_hour=HalfHour("timestamp"))
    bounds = grouped.annotate(first=Min("timestamp"), last=Max("timestamp"))
    yield from bounds.values_list("user_email", "first", "last")


class HalfHour(Func):
    """The half hour of a timestamp, computed in SQL: on SQLite, Django's Trunc functions call Python for each row."""

    template = "DATE_BIN('30 minutes', %(expressions)s, TIMESTAMPTZ '2000-01-01 00:00Z')"
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Escaped twice, for the template and for the driver.
        template = "CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / 1800"
        return super().as_sql(compiler, connection, template=template, **context)
