"""Export the usage of a period, one row per run or grouped, as rows that are read while they are sent.

Groups are summed up from hourly rollups, which lag by a minute at most. What those cannot tell is read from the runs:
machines, partial hours, and days of time zones whose midnight is not at a full hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import DateTimeField, F, QuerySet
from django.db.models.functions import Coalesce, Least, TruncDate
from django.utils import timezone

from portal.base.moments import midnight
from usage.consumption import DAY, HOUR, SUMS, UsageTotals
from usage.models import Run, RunRollup
from usage.models.runs import RUN_TOTALS, hour_of

RUN_COLUMNS = (
    "run_id", "license_ref", "machine_id", "app_name", "app_version", "document_count", "succeeded_count",
    "failed_count", "total_pages", "documents_omitted", "started_at", "sent_at", "received_at", "clock",
    "dropped_keys", "over_quota", "implausible", "reported_by",
)  # fmt: skip
# The values of the parameter `group`, and their columns.
GROUPS = {
    "license": "license_ref",
    "app": "app_name",
    "version": "app_version",
    "machine": "machine_id",
    "day": "day",
}
ROWS_AT_A_TIME = 2_000
# When a run happened: its start, or its receipt if the start is unknown or, by a clock that ran ahead, later. Least()
# of a null is null on SQLite, and the other value on PostgreSQL.
RUN_TIME = Coalesce(Least("started_at", "received_at"), F("received_at"), output_field=DateTimeField())

Row = tuple[Any, ...]


@dataclass(frozen=True)
class ExportQuery:
    """The runs from `since` until before `until`, summed up by `groups`, or one by one without groups."""

    since: datetime
    until: datetime
    groups: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return [*(GROUPS[group] for group in self.groups), *UsageTotals._fields] if self.groups else list(RUN_COLUMNS)


def export_rows(query: ExportQuery, now: datetime) -> Iterator[Row]:
    """Yield rows in the order of the columns, sorted by group. Groups found only in partial hours come last."""
    if not query.groups:
        return list_runs(query)
    if "machine" in query.groups or ("day" in query.groups and not has_full_hour_days(query)):
        return stream(sum_runs(runs_between(query.since, query.until), query.groups))
    return sum_hours(query, now)


def list_runs(query: ExportQuery) -> Iterator[Row]:
    runs = runs_between(query.since, query.until).order_by("hour", "id")
    for run_id, *values in stream(runs.values_list(*RUN_COLUMNS)):
        yield (run_id.hex, *values)


def stream(rows: QuerySet[Any, Any]) -> Iterator[Row]:
    """Read through a server-side cursor, so that only a chunk of rows is in memory."""
    return rows.iterator(chunk_size=ROWS_AT_A_TIME)


# --- From the runs ---------------------------------------------------------------------------------------------------


def runs_between(since: datetime, until: datetime) -> QuerySet[Run]:
    """Filter by hour, which is indexed, and by exact time only if a bound is not a full hour."""
    runs = Run.objects.filter(hour__gte=hour_of(since), hour__lt=until)
    if since != hour_of(since):
        runs = runs.alias(happened=RUN_TIME).filter(happened__gte=since)
    if until != hour_of(until):
        runs = runs.alias(happened=RUN_TIME).filter(happened__lt=until)
    return runs


def sum_runs(runs: QuerySet[Run], groups: Sequence[str]) -> QuerySet[Any, Any]:
    names = [GROUPS[group] for group in groups]
    return runs.annotate(day=TruncDate(RUN_TIME)).order_by(*names).values_list(*names).annotate(**RUN_TOTALS)


# --- From the rollups ------------------------------------------------------------------------------------------------


def sum_hours(query: ExportQuery, now: datetime) -> Iterator[Row]:
    """Sum up the rollups of full hours, and add the runs of the partial hours at both ends."""
    # The current hour counts as full if the query includes now: there are no later runs.
    first = hour_of(query.since + HOUR - datetime.resolution)
    last = query.until if query.until >= now else hour_of(query.until)
    hours = RunRollup.objects.filter(hour__gte=first, hour__lt=last)
    names = [GROUPS[group] for group in query.groups]
    rows = hours.annotate(day=TruncDate("hour")).order_by(*names).values_list(*names).annotate(*SUMS)
    partial = sum_partial_hours(query, first, last)
    for row in stream(rows):
        key, totals = row[: len(names)], row[len(names) :]
        yield (*key, *map(sum, zip(totals, partial.pop(key, UsageTotals()), strict=True)))
    for key in sorted(partial):
        yield (*key, *partial[key])


def sum_partial_hours(query: ExportQuery, first: datetime, last: datetime) -> dict[Row, UsageTotals]:
    """Return the totals by group of the runs before the first and after the last full hour."""
    partial_hours = [(query.since, min(first, query.until))]
    if last >= first:
        partial_hours.append((last, query.until))
    totals: dict[Row, UsageTotals] = {}
    width = len(query.groups)
    for since, until in partial_hours:
        if since < until:
            for row in sum_runs(runs_between(since, until), query.groups):
                known = totals.get(row[:width], UsageTotals())
                totals[row[:width]] = UsageTotals(*map(sum, zip(known, row[width:], strict=True)))
    return totals


def has_full_hour_days(query: ExportQuery) -> bool:
    """Return True if every midnight of the period, in the portal's time zone, is at a full hour of UTC."""
    first, last = timezone.localdate(query.since), timezone.localdate(query.until)
    midnights = (midnight(first + number * DAY) for number in range((last - first).days + 1))
    return all(start == hour_of(start) for start in midnights)
