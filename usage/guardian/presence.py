"""For how long people were there, as far as their sessions tell.

A session that ended counts from its start to its end, within the period. One that nobody ended, as most are, says only
when its person came: it counts where moments of that person, its own start among them, lie no more than half an hour
apart. Moments are the requests and errors since the person's first open session began, and within the period.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Func, Max, Min, Q, QuerySet, TextField

from usage.models import FeatureUsage, UserError, UserSession

APART = timedelta(minutes=30)
AT_ONCE = timedelta(0)
OF_PEOPLE = ~Q(user_email="") & ~Q(user_email__contains=":")
Interval = tuple[datetime, datetime]
Intervals = dict[str, list[Interval]]
Rows = QuerySet[Any]


def presence(start: datetime, end: datetime) -> dict[str, float]:
    """Seconds by person, of all who began a session within the period or whose session lasted into it."""
    sessions = UserSession.objects.filter(OF_PEOPLE, session_start__lt=end).order_by()
    ended, stretches = ended_sessions(sessions, start, end), open_sessions(sessions, start, end)
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
    still_open = sessions.filter(session_end=None)
    came = dict(still_open.values_list("user_email").annotate(Min("session_start")))
    found: defaultdict[str, list[Interval]] = defaultdict(list)
    if not came:
        return found
    began = still_open.filter(session_start__gte=start).values_list("user_email", "session_start")
    for person, moment in began:
        found[person].append((moment, moment))
    for model in (FeatureUsage, UserError):
        rows = model.objects.filter(timestamp__gte=start, timestamp__lt=end).order_by()
        for person, first, last in moments(rows.filter(user_email__in=still_open.values("user_email"))):
            if last >= came[person]:
                found[person].append((max(first, came[person]), last))
    return found


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
