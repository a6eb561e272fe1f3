"""Usage of a time, run by run or summed up, as rows that are read while they are sent.

Sums are those of the hours of usage, which are a minute behind at most. What they cannot tell is read from the runs: a
machine, a part of an hour, and the days of a zone whose midnights fall between two full hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, DateTimeField, F, QuerySet, Sum
from django.db.models.functions import Coalesce, Least, TruncDate
from django.utils import timezone

from usage.consumption import DAY, SUMMED, Sums, midnight
from usage.models import Run, RunRollup
from usage.models.runs import COUNTED_PAGES, hour_of

RUN_COLUMNS = (
    "run_id", "license_ref", "machine_id", "app_name", "app_version", "document_count", "succeeded_count",
    "failed_count", "total_pages", "documents_omitted", "started_at", "sent_at", "received_at", "clock",
    "dropped_keys", "over_quota", "implausible", "reported_by",
)  # fmt: skip
# The words of a query, with the column each stands for.
GROUPS = {
    "license": "license_ref",
    "app": "app_name",
    "version": "app_version",
    "machine": "machine_id",
    "day": "day",
}
ROWS_AT_A_TIME = 2_000
HOUR = timedelta(hours=1)
# What a run adds to each figure, its pages aside.
OF_RUNS = [Count("pk"), Sum("document_count"), Sum("succeeded_count"), Sum("failed_count")]
# Least() is null on SQLite where one is, and the other one on PostgreSQL. No clock is believed that runs ahead.
HAPPENED = Coalesce(Least("started_at", "received_at"), F("received_at"), output_field=DateTimeField())

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Wanted:
    """Runs from `since` up to, and without, `until`, summed up by `groups`, or each by itself without any."""

    since: datetime
    until: datetime
    groups: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return [*(GROUPS[group] for group in self.groups), *Sums._fields] if self.groups else list(RUN_COLUMNS)


def rows_of(wanted: Wanted, now: datetime) -> Iterator[Row]:
    """In the order of the columns, sorted by the groups; what a part of an hour alone holds stands at the end."""
    if not wanted.groups:
        return each_run(wanted)
    if "machine" in wanted.groups or ("day" in wanted.groups and not has_full_hours(wanted)):
        return streamed(summed_runs(runs_between(wanted.since, wanted.until), wanted.groups))
    return summed_hours(wanted, now)


def each_run(wanted: Wanted) -> Iterator[Row]:
    runs = runs_between(wanted.since, wanted.until).order_by("hour", "id")
    for run_id, *values in streamed(runs.values_list(*RUN_COLUMNS)):
        yield (run_id.hex, *values)


def streamed(rows: QuerySet[Any, Any]) -> Iterator[Row]:
    """A cursor on the database's side, so that no more than a few rows are here at once."""
    return rows.iterator(chunk_size=ROWS_AT_A_TIME)


# --- From the runs ---------------------------------------------------------------------------------------------------


def runs_between(since: datetime, until: datetime) -> QuerySet[Run]:
    """By their hours, which an index serves, and where those are not enough by the moments as well."""
    runs = Run.objects.filter(hour__gte=hour_of(since), hour__lt=until)
    if since != hour_of(since):
        runs = runs.alias(happened=HAPPENED).filter(happened__gte=since)
    if until != hour_of(until):
        runs = runs.alias(happened=HAPPENED).filter(happened__lt=until)
    return runs


def summed_runs(runs: QuerySet[Run], groups: Sequence[str]) -> QuerySet[Any, Any]:
    names = [GROUPS[group] for group in groups]
    return (
        runs.annotate(day=TruncDate(HAPPENED))
        .order_by(*names)
        .values_list(*names)
        .annotate(*OF_RUNS, pages=COUNTED_PAGES)
    )


# --- From the hours --------------------------------------------------------------------------------------------------


def summed_hours(wanted: Wanted, now: datetime) -> Iterator[Row]:
    """The full hours as they are summed up, with what the parts of hours at both ends add to each row."""
    # Nothing has happened after now: the hour that runs is there as far as it goes.
    first, last = ceiling(wanted.since), wanted.until if wanted.until >= now else hour_of(wanted.until)
    hours = RunRollup.objects.filter(hour__gte=first, hour__lt=last)
    names = [GROUPS[group] for group in wanted.groups]
    found = hours.annotate(day=TruncDate("hour")).order_by(*names).values_list(*names).annotate(*SUMMED)
    extra = parts(wanted, first, last)
    for row in streamed(found):
        key, figures = row[: len(names)], row[len(names) :]
        yield (*key, *map(sum, zip(figures, extra.pop(key, Sums()), strict=True)))
    for key in sorted(extra):
        yield (*key, *extra[key])


def parts(wanted: Wanted, first: datetime, last: datetime) -> dict[Row, Sums]:
    """What the runs before the first full hour, and after the last one, came to: an hour each at most."""
    ends = [(wanted.since, min(first, wanted.until))]
    if last >= first:
        ends.append((last, wanted.until))
    found: dict[Row, Sums] = {}
    width = len(wanted.groups)
    for since, until in ends:
        if since < until:
            for row in summed_runs(runs_between(since, until), wanted.groups):
                known = found.get(row[:width], Sums())
                found[row[:width]] = Sums(*map(sum, zip(known, row[width:], strict=True)))
    return found


def ceiling(moment: datetime) -> datetime:
    return moment if moment == hour_of(moment) else hour_of(moment) + HOUR


def has_full_hours(wanted: Wanted) -> bool:
    """Whether the hours of UTC lie each within one day of the portal's zone, summer and winter."""
    return all(start == hour_of(start) for start in midnights(wanted))


def midnights(wanted: Wanted) -> Iterable[datetime]:
    day, last = timezone.localdate(wanted.since), timezone.localdate(wanted.until)
    while day <= last:
        yield midnight(day)
        day += DAY
