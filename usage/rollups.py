"""Roll up runs by the hour. Pages, quotas and exports read the hours instead of millions of runs.

Whenever a run is received, the hour of its licence is counted again from all its runs, so rolling up is idempotent.
Progress is one row, written in the same transaction as the counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from portal.work.jobs import AlreadyRunning, Lease, exclusive_lease
from usage.consumption import HOUR, UsageTotals
from usage.models import Licence, RollupProgress, Run, RunRollup
from usage.models.runs import RUN_TOTALS, hour_of
from usage.quotas import review_quotas

LEASE_NAME, LEASE_DURATION = "usage.rolling_up", timedelta(minutes=5)
# Counted again each time: a run is written within seconds of its `received_at`, by the clock of any node.
OVERLAP = timedelta(minutes=10)
# The size of a transaction.
RUNS_AT_A_TIME = 20_000
# Beyond this number, all licences of an hour are counted.
MOST_NAMED = 500
INSTANT = timedelta(milliseconds=1)


class Bucket(NamedTuple):
    license_ref: str
    hour: datetime
    app_name: str
    app_version: str


Buckets = dict[Bucket, tuple[int, ...]]
RefsByHour = Mapping[datetime, set[str]]


def roll_up(lease: Lease) -> dict[str, int]:
    """Run the periodic job. Return the number of rollups written and of quota warnings sent."""
    now = timezone.now()
    try:
        with exclusive_lease(LEASE_NAME, LEASE_DURATION) as own:
            return {"rollups": catch_up(now, [lease, own]), "warnings": review_quotas(now, own)}
    except AlreadyRunning:
        return {"rollups": 0, "warnings": 0}


def catch_up(now: datetime, leases: list[Lease]) -> int:
    """Count each hour again that got a run since `counted_until`, less OVERLAP. Return the rollups written."""
    written, done_refs = 0, defaultdict[datetime, set[str]](set)
    for since, until in split_by_time(uncounted_since(now), max(now, last_received() or now)):
        received = Run.objects.filter(received_at__gte=since, received_at__lt=until).order_by()
        # Hours counted for an earlier interval already include the runs of this one.
        new_refs = {hour: refs - done_refs[hour] for hour, refs in refs_by_hour(received).items()}
        differences = [find_differences(hour, refs) for hour, refs in new_refs.items() if refs]
        with transaction.atomic():
            for lease in leases:
                lease.extend()  # raises LeaseLost
            update_licences(received)
            for changed, stale in differences:
                written += save_rollups(changed, stale)
            RollupProgress.objects.update_or_create(pk=1, defaults={"counted_until": min(until, now + INSTANT)})
        for hour, refs in new_refs.items():
            done_refs[hour] |= refs
    return written


def rebuild(since: datetime | None, until: datetime | None, report: Callable[[datetime, int], None]) -> int:
    """Count the hours of a period again, or all of them. Return the number of rollups written or removed.

    Raises AlreadyRunning. `report` is called with each hour that had to be corrected, and its number of rollups.
    """
    corrected = 0
    with exclusive_lease(LEASE_NAME, LEASE_DURATION) as own:
        for hour in hours_between(since, until):
            changed, stale = find_differences(hour, None)
            with transaction.atomic():
                own.extend()
                count = save_rollups(changed, stale)
            if count:
                report(hour, count)
            corrected += count
    return corrected


def recount(runs: QuerySet[Run]) -> None:
    """Count the hours of these runs again, in the caller's transaction. Raises AlreadyRunning."""
    with exclusive_lease(LEASE_NAME, LEASE_DURATION):
        for hour, refs in refs_by_hour(runs.order_by()).items():
            save_rollups(*find_differences(hour, refs))


# --- Reading ---------------------------------------------------------------------------------------------------------


def uncounted_since(now: datetime) -> datetime | None:
    """Return the time to count from, never after now, so that a clock that ran ahead does not skip runs."""
    counted_until = RollupProgress.objects.values_list("counted_until", flat=True).first()
    if counted_until is None:
        return Run.objects.order_by("received_at").values_list("received_at", flat=True).first()
    return min(counted_until, now) - OVERLAP


def last_received() -> datetime | None:
    """Return when the newest run was received. It is after now if a clock ran ahead; such runs count too."""
    return Run.objects.order_by("-received_at").values_list("received_at", flat=True).first()


def split_by_time(since: datetime | None, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield intervals of `received_at`, oldest first, with about RUNS_AT_A_TIME runs each."""
    end = last + INSTANT
    while since is not None and since < end:
        later = Run.objects.filter(received_at__gte=since, received_at__lt=end).order_by("received_at")
        next_start = later.values_list("received_at", flat=True)[RUNS_AT_A_TIME : RUNS_AT_A_TIME + 1].first()
        until = max(next_start, since + INSTANT) if next_start else end
        yield since, until
        since = until


def refs_by_hour(received: QuerySet[Run]) -> RefsByHour:
    by_hour: defaultdict[datetime, set[str]] = defaultdict(set)
    for hour, ref in received.values_list("hour", "license_ref").distinct():
        by_hour[hour].add(ref)
    return by_hour


def find_differences(hour: datetime, refs: set[str] | None) -> tuple[Buckets, set[Bucket]]:
    """Compare the rollups of an hour with its runs. Return those to write, and those whose runs are gone."""
    runs, rollups = Run.objects.filter(hour=hour), RunRollup.objects.filter(hour=hour)
    if refs is not None and len(refs) <= MOST_NAMED:
        runs, rollups = runs.filter(license_ref__in=refs), rollups.filter(license_ref__in=refs)
    counts = runs.order_by().values_list(*Bucket._fields).annotate(**RUN_TOTALS)
    actual, stored = read_buckets(counts), read_buckets(rollups.values_list(*Bucket._fields, *UsageTotals._fields))
    return {key: sums for key, sums in actual.items() if stored.get(key) != sums}, stored.keys() - actual.keys()


def read_buckets(rows: QuerySet[Any, Any]) -> Buckets:
    width = len(Bucket._fields)
    return {Bucket(*row[:width]): row[width:] for row in rows}


def hours_between(since: datetime | None, until: datetime | None) -> Iterator[datetime]:
    """Yield the hours with runs or rollups, from the hour of `since` to the last one before `until`."""
    after = hour_of(since) - HOUR if since else datetime(1970, 1, 1, tzinfo=UTC)
    while True:
        candidates = [
            first
            for rows in (Run.objects, RunRollup.objects)
            if (first := rows.filter(hour__gt=after).order_by("hour").values_list("hour", flat=True).first())
        ]
        if not candidates or (until is not None and min(candidates) >= until):
            return
        after = min(candidates)
        yield after


# --- Writing ---------------------------------------------------------------------------------------------------------


def save_rollups(changed: Buckets, stale: set[Bucket]) -> int:
    """Upsert the changed rollups, delete the stale ones, and return how many these were."""
    rows = [
        RunRollup(**key._asdict(), **dict(zip(UsageTotals._fields, changed[key], strict=True)))
        for key in sorted(changed)
    ]
    RunRollup.objects.bulk_create(
        rows,
        batch_size=1_000,
        update_conflicts=True,
        unique_fields=["license_ref", "hour", "app_name", "app_version"],
        update_fields=UsageTotals._fields,
    )
    for key in stale:
        RunRollup.objects.filter(**key._asdict()).delete()
    return len(changed) + len(stale)


def update_licences(received: QuerySet[Run]) -> None:
    """Create a licence for each unknown reference, and set the time of the last run of all."""
    rows = received.exclude(license_ref="").values_list("license_ref")
    bounds = list(rows.annotate(first=Min("received_at"), last=Max("received_at")))
    first, last = {ref: at for ref, at, _ in bounds}, {ref: at for ref, _, at in bounds}
    known = list(Licence.objects.filter(ref__in=last).order_by("pk"))
    unknown = sorted(last.keys() - {licence.ref for licence in known})
    new = [Licence(ref=ref, first_seen_at=first[ref], last_run_at=last[ref]) for ref in unknown]
    Licence.objects.bulk_create(new, ignore_conflicts=True)  # an operator may have added one meanwhile
    outdated = [licence for licence in known if licence.last_run_at is None or licence.last_run_at < last[licence.ref]]
    for licence in outdated:
        licence.last_run_at = last[licence.ref]
        licence.first_seen_at = licence.first_seen_at or first[licence.ref]
    Licence.objects.bulk_update(outdated, ["first_seen_at", "last_run_at"], batch_size=500)
