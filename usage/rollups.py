"""Runs become hours: what pages, quotas and exports read instead of millions of rows.

An hour of a licence is counted anew from its runs whenever one of them was received, so that counting twice changes
nothing. How far it got stands in one row, in the transaction of what was counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet, Sum
from django.utils import timezone

from portal.work.jobs import AlreadyRunning, Lease, exclusive_lease
from usage import licences
from usage.models import Licence, RollupProgress, Run, RunRollup
from usage.models.runs import COUNTED_PAGES, hour_of

TURN, TURN_LENGTH = "usage.rolling_up", timedelta(minutes=5)
# A run is written within seconds of the moment it was received at, by whichever node's clock.
LATE = timedelta(minutes=10)
# What one transaction writes.
RUNS_AT_A_TIME = 20_000
# Beyond these all licences of an hour are counted at once.
MOST_NAMED = 500
HOUR = timedelta(hours=1)
INSTANT = timedelta(milliseconds=1)
FIGURES = ("runs", "documents", "succeeded", "failed", "pages")
SUMS = {
    "documents": Sum("document_count"),
    "succeeded": Sum("succeeded_count"),
    "failed": Sum("failed_count"),
    "pages": COUNTED_PAGES,
}


class Bucket(NamedTuple):
    license_ref: str
    hour: datetime
    app_name: str
    app_version: str


Buckets = dict[Bucket, tuple[int, ...]]
# By hour the licences in it.
Touched = Mapping[datetime, set[str]]


def roll_up(lease: Lease) -> dict[str, int]:
    """The periodic job; how many rollups were written, and how many warnings of quotas that gave."""
    now = timezone.now()
    try:
        with exclusive_lease(TURN, TURN_LENGTH) as own:
            return {"rollups": catch_up(now, [lease, own]), "warnings": licences.review(now, own)}
    except AlreadyRunning:
        return {"rollups": 0, "warnings": 0}


def catch_up(now: datetime, leases: list[Lease]) -> int:
    """Counts the hours of all runs received since the last time, and a little before; how many rollups were written."""
    written, counted = 0, defaultdict[datetime, set[str]](set)
    for since, until in pieces(received_since(now), max(now, last_received() or now)):
        received = Run.objects.filter(received_at__gte=since, received_at__lt=until).order_by()
        # What a piece before this one counted held the runs of this one too.
        news = {hour: refs - counted[hour] for hour, refs in touched(received).items()}
        changes = [changed(hour, refs) for hour, refs in news.items() if refs]
        with transaction.atomic():
            extend(leases)
            know_licences(received)
            for fresh, gone in changes:
                written += write(fresh, gone)
            RollupProgress.objects.update_or_create(pk=1, defaults={"counted_until": min(until, now + INSTANT)})
        for hour, refs in news.items():
            counted[hour] |= refs
    return written


def rebuild(since: datetime | None, until: datetime | None, tell: Callable[[datetime, int], None]) -> int:
    """Counts the hours of a period anew, or all of them; how many rollups were written or removed. Raises Busy.

    Each hour that had something to mend is told, with how many rollups that were.
    """
    mended = 0
    with exclusive_lease(TURN, TURN_LENGTH) as own:
        for hour in hours(since, until):
            fresh, gone = changed(hour, None)
            with transaction.atomic():
                extend([own])
                count = write(fresh, gone)
            if count:
                tell(hour, count)
            mended += count
    return mended


def recount(runs: QuerySet[Run]) -> None:
    """Count the hours of these runs anew, in the caller's transaction. Raises Busy."""
    with exclusive_lease(TURN, TURN_LENGTH):
        for hour, refs in touched(runs.order_by()).items():
            write(*changed(hour, refs))


def extend(leases: list[Lease]) -> None:
    """In the transaction of what they allow. Raises LeaseLost."""
    for lease in leases:
        lease.extend()


# --- What has changed ------------------------------------------------------------------------------------------------


def received_since(now: datetime) -> datetime | None:
    """The time to count on from. Never after now, so that a clock which ran ahead lets nothing be skipped."""
    known = RollupProgress.objects.values_list("counted_until", flat=True).first()
    if known is None:
        return Run.objects.order_by("received_at").values_list("received_at", flat=True).first()
    return min(known, now) - LATE


def last_received() -> datetime | None:
    """When the newest run was received: after now where a clock ran ahead, and counted all the same."""
    return Run.objects.order_by("-received_at").values_list("received_at", flat=True).first()


def pieces(since: datetime | None, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The time in which runs were received, oldest first, so that none holds many more than RUNS_AT_A_TIME."""
    end = last + INSTANT
    while since is not None and since < end:
        later = Run.objects.filter(received_at__gte=since, received_at__lt=end).order_by("received_at")
        next_one = later.values_list("received_at", flat=True)[RUNS_AT_A_TIME : RUNS_AT_A_TIME + 1].first()
        until = max(next_one, since + INSTANT) if next_one else end
        yield since, until
        since = until


def touched(received: QuerySet[Run]) -> Touched:
    found: defaultdict[datetime, set[str]] = defaultdict(set)
    for hour, ref in received.values_list("hour", "license_ref").distinct():
        found[hour].add(ref)
    return found


def changed(hour: datetime, refs: set[str] | None) -> tuple[Buckets, set[Bucket]]:
    """The rollups of an hour that say something else than its runs, and those whose runs are gone."""
    runs, known = Run.objects.filter(hour=hour), RunRollup.objects.filter(hour=hour)
    if refs is not None and len(refs) <= MOST_NAMED:
        runs, known = runs.filter(license_ref__in=refs), known.filter(license_ref__in=refs)
    counted = runs.order_by().values_list(*Bucket._fields).annotate(runs=Count("pk"), **SUMS)
    fresh, stored = buckets(counted), buckets(known.values_list(*Bucket._fields, *FIGURES))
    return {key: figures for key, figures in fresh.items() if stored.get(key) != figures}, stored.keys() - fresh.keys()


def buckets(rows: QuerySet[Any, Any]) -> Buckets:
    width = len(Bucket._fields)
    return {Bucket(*row[:width]): row[width:] for row in rows}


def hours(since: datetime | None, until: datetime | None) -> Iterator[datetime]:
    """Those in which there are runs or rollups, from the one of `since` up to the one before `until`."""
    after = hour_of(since) - HOUR if since else datetime(1970, 1, 1, tzinfo=UTC)
    while True:
        found = [
            first
            for rows in (Run.objects, RunRollup.objects)
            if (first := rows.filter(hour__gt=after).order_by("hour").values_list("hour", flat=True).first())
        ]
        if not found or (until is not None and min(found) >= until):
            return
        after = min(found)
        yield after


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(fresh: Buckets, gone: set[Bucket]) -> int:
    rows = [RunRollup(**key._asdict(), **dict(zip(FIGURES, fresh[key], strict=True))) for key in sorted(fresh)]
    RunRollup.objects.bulk_create(
        rows,
        batch_size=1_000,
        update_conflicts=True,
        unique_fields=["license_ref", "hour", "app_name", "app_version"],
        update_fields=FIGURES,
    )
    for key in gone:
        RunRollup.objects.filter(**key._asdict()).delete()
    return len(fresh) + len(gone)


def know_licences(received: QuerySet[Run]) -> None:
    """A reference nobody knows becomes a licence without a name; all get the moment of their last run."""
    rows = received.exclude(license_ref="").values_list("license_ref")
    moments = list(rows.annotate(first=Min("received_at"), last=Max("received_at")))
    first, last = {ref: at for ref, at, _ in moments}, {ref: at for ref, _, at in moments}
    known = list(Licence.objects.filter(ref__in=last).order_by("pk"))
    unknown = sorted(last.keys() - {licence.ref for licence in known})
    new = [Licence(ref=ref, first_seen_at=first[ref], last_run_at=last[ref]) for ref in unknown]
    Licence.objects.bulk_create(new, ignore_conflicts=True)  # somebody may have added one meanwhile
    later = [licence for licence in known if licence.last_run_at is None or licence.last_run_at < last[licence.ref]]
    for licence in later:
        licence.last_run_at = last[licence.ref]
        licence.first_seen_at = licence.first_seen_at or first[licence.ref]
    Licence.objects.bulk_update(later, ["first_seen_at", "last_run_at"], batch_size=500)
