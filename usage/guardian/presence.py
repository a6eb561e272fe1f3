"""For how long people were there, as far as their sessions tell.

A session that ended counts from its start to its end, within the period. One that nobody ended, as most are, says only
when its person came: it counts where moments of that person, its own start among them, lie no more than half an hour
apart. Moments are the requests and errors within the period and while an open session may have lasted: no longer than
SESSION_COOKIE_AGE from its start, after which a portal session is over. A client's counts no longer either, or a
program that runs every night would be a person for ever. An end that has not come yet is none.
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

APART = timedelta(minutes=30)
AT_ONCE = timedelta(0)
Interval = tuple[datetime, datetime]
Intervals = dict[str, list[Interval]]
Rows = QuerySet[Any]


def presence(start: datetime, end: datetime) -> dict[str, float]:
    """Seconds by person, of all who began a session within the period or whose session lasted into it."""
    sessions = UserSession.objects.filter(PEOPLE, session_start__lt=end).order_by()
    is_ended = Q(session_end__lte=timezone.now())
    ended = ended_sessions(sessions.filter(is_ended), start, end)
    stretches = open_sessions(sessions.exclude(is_ended), start, end)
    return {
        person: lasting([*ended.get(person, ()), *joined(stretches.get(person, ()), APART)])
        for person in ended.keys() | stretches.keys()
    }


# --- Intervals -------------------------------------------------------------------------------------------------------


def joined(intervals: Iterable[Interval], apart: timedelta) -> list[Interval]:
    """In order; those that overlap, or lie no further apart than that, as one."""
    found: list[Interval] = []
    for since, until in sorted(intervals):
        if found and since - found[-1][1] <= apart:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found


def lasting(intervals: Iterable[Interval]) -> float:
    """Seconds that they cover."""
    return sum((until - since).total_seconds() for since, until in joined(intervals, AT_ONCE))


# --- Sessions --------------------------------------------------------------------------------------------------------


def ended_sessions(sessions: Rows, start: datetime, end: datetime) -> Intervals:
    found: defaultdict[str, list[Interval]] = defaultdict(list)
    rows = sessions.filter(session_end__gte=start).values_list("user_email", "session_start", "session_end")
    for person, began, ended in rows:
        # One that ended as the period began was not in it; one that ended as it began itself is.
        if began >= start or ended > start:
            since = max(began, start)
            found[person].append((since, max(since, min(ended, end))))
    return found


def open_sessions(sessions: Rows, start: datetime, end: datetime) -> Intervals:
    """Of whoever has one: moments within the period, those of half an hour as one interval."""
    at_most = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    sessions = sessions.filter(session_start__gt=start - at_most)
    lasted: defaultdict[str, list[Interval]] = defaultdict(list)
    found: defaultdict[str, list[Interval]] = defaultdict(list)
    for person, began in sessions.values_list("user_email", "session_start"):
        lasted[person].append((began, began + at_most))
        if began >= start:
            found[person].append((began, began))
    if not lasted:
        return found
    spans = {person: joined(intervals, AT_ONCE) for person, intervals in lasted.items()}
    for model in (FeatureUsage, UserError):
        rows = model.objects.filter(timestamp__gte=start, timestamp__lt=end).order_by()
        for person, first, last in moments(rows.filter(user_email__in=sessions.values("user_email"))):
            found[person] += within(spans[person], first, last)
    return found


def within(spans: Iterable[Interval], first: datetime, last: datetime) -> list[Interval]:
    """What of the spans lies between the two."""
    return [(max(first, since), min(last, until)) for since, until in spans if since <= last and first <= until]


def moments(rows: Rows) -> Iterator[tuple[str, datetime, datetime]]:
    """By person and half hour the first and the last one.

    What lies between them is no more than APART from its neighbours, so that nothing else needs to be read.
    """
    grouped = rows.values("user_email", half_hour=HalfHour("timestamp"))
    bounds = grouped.annotate(first=Min("timestamp"), last=Max("timestamp"))
    yield from bounds.values_list("user_email", "first", "last")


class HalfHour(Func):
    """Names the half hour that a moment lies in. In SQL alone: what Django has for it calls Python for each row."""

    template = "DATE_BIN('30 minutes', %(expressions)s, TIMESTAMPTZ '2000-01-01 00:00Z')"
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / 1800"
        return super().as_sql(compiler, connection, template=template, **context)
