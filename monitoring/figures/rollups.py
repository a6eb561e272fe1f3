"""Roll up checks into minutes, minutes into hours, and hours into days (UTC), so that pages need no single checks.

Each rollup is counted anew from the level below, which makes the job idempotent. Checks are kept for days and minutes
for weeks. Therefore a rollup never replaces one that has counted more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from monitoring.figures import histogram
from monitoring.figures.histogram import Histogram
from monitoring.figures.uptime import DAY, EPOCH, HOUR, MINUTE, floor_to_step
from monitoring.models import CheckResult, Rollup
from portal.work.jobs import AlreadyRunning, Lease, exclusive_lease

Period = Rollup.Period
# Cycles of the job may overlap and write the same hour, so only one runs at a time.
LEASE_KEY, LEASE_LENGTH = "monitoring.rolling_up", timedelta(minutes=2)
# A check is recorded within two minutes of its start. The rest is a margin for a slow database.
LATE = timedelta(minutes=5)
# One transaction covers this much time, so that it does not block other writers on SQLite for long.
BATCH = timedelta(minutes=10)
COUNT_FIELDS = ("checks", "failures", "excused", "retried")
LEVELS = ((Period.MINUTE, Period.HOUR, HOUR), (Period.HOUR, Period.DAY, DAY))


# Checks, failures, excused and retried, as in COUNT_FIELDS.
Counts = tuple[int, int, int, int]
NO_COUNTS: Counts = (0, 0, 0, 0)


@dataclass
class RollupTally:
    """Counts of one rollup that is being built. See the model."""

    checks: int = 0
    failures: int = 0
    excused: int = 0
    retried: int = 0
    latency_sum_ms: float = 0.0
    histogram: Histogram = field(default_factory=dict)

    @property
    def counts(self) -> Counts:
        return self.checks, self.failures, self.excused, self.retried

    def count(self, error_kind: str, latency_ms: float | None, excuse: str, retried: int) -> None:
        if excuse:
            self.excused += 1
            return
        self.checks += 1
        self.retried += retried
        if error_kind:
            self.failures += 1
        elif latency_ms is not None:
            self.latency_sum_ms += latency_ms
            histogram.add_latency(self.histogram, latency_ms)

    def add(self, other: RollupTally) -> None:
        self.checks += other.checks
        self.failures += other.failures
        self.excused += other.excused
        self.retried += other.retried
        self.latency_sum_ms += other.latency_sum_ms
        self.histogram = histogram.merge_histograms([self.histogram, other.histogram])


# Keys are the target and the start of the minute, hour or day.
RollupTallies = dict[tuple[int, datetime], RollupTally]


def roll_up(lease: Lease, now: datetime | None = None) -> dict[str, int]:
    """Run the periodic job. Return how many rollups of each period were written, an hour or day once a batch.

    It begins a little before the last minute rollup, however long ago that was, and includes the current minute, hour
    and day.
    """
    now = now or timezone.now()
    try:
        with exclusive_lease(LEASE_KEY, LEASE_LENGTH) as own:
            return roll_up_period(find_start(now), floor_to_step(now, MINUTE) + MINUTE, [lease, own])
    except AlreadyRunning:  # another process rolls up the same checks
        return no_rollups()


def rebuild_rollups(since: datetime, until: datetime) -> dict[str, int]:
    """Count the minutes of a period anew, with their hours and days, where their checks still exist.

    Raises AlreadyRunning.
    """
    with exclusive_lease(LEASE_KEY, LEASE_LENGTH) as own:
        return roll_up_period(floor_to_step(since, MINUTE), until, [own], only_changed=False)


def roll_up_period(
    since: datetime, until: datetime, leases: list[Lease], *, only_changed: bool = True
) -> dict[str, int]:
    done = no_rollups()
    for start, end in batches(since, until):
        for period, tallies in roll_up_batch(start, end, leases, only_changed=only_changed).items():
            done[period] += len(tallies)
    return done


def no_rollups() -> dict[str, int]:
    return dict.fromkeys(Period.values, 0)


def find_start(now: datetime) -> datetime:
    """Return where to go on. Minutes in the future were counted before the clock was set back, and are ignored."""
    known = Rollup.objects.filter(period=Period.MINUTE, start__lte=now)
    last = known.order_by("-start").values_list("start", flat=True).first()
    return last - LATE if last else EPOCH


def batches(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the periods with checks, oldest first. Each lies within one hour."""
    results = CheckResult.objects.filter(at__lt=until).order_by("at").values_list("at", flat=True)
    while since < until and (first := results.filter(at__gte=since).first()):
        start = floor_to_step(first, MINUTE)
        since = min(start + BATCH, floor_to_step(start, HOUR) + HOUR, until)
        yield start, since


def roll_up_batch(
    since: datetime, until: datetime, leases: list[Lease], *, only_changed: bool = True
) -> dict[Period, RollupTallies]:
    """Roll up these minutes, and the hour and the day around them. Return what was written. Raises LeaseLost.

    Everything is read before the short transaction that writes it: the lease keeps other writers out.
    """
    written = {Period.MINUTE: select_writable(Period.MINUTE, count_checks(since, until), only_changed)}
    for below, period, step in LEVELS:
        written[period] = select_writable(period, sum_into_period(below, written[below], step), only_changed)
    if written[Period.MINUTE]:
        with transaction.atomic():
            for lease in leases:
                lease.extend()
            for period, tallies in written.items():
                store_rollups(period, tallies)
    return written


def add_hours(tallies: RollupTallies) -> RollupTallies:
    """Store hours that were not counted from checks, and their days. Return those that were written.

    The caller holds the lease, in a transaction. An hour never replaces one that has counted as much.
    """
    hours = select_writable(Period.HOUR, tallies, only_changed=True)
    store_rollups(Period.HOUR, hours)
    store_rollups(Period.DAY, select_writable(Period.DAY, sum_into_period(Period.HOUR, hours, DAY), only_changed=True))
    return hours


# --- Reading ---------------------------------------------------------------------------------------------------------


def count_checks(since: datetime, until: datetime) -> RollupTallies:
    """Count the checks of these minutes."""
    found: RollupTallies = {}
    rows = CheckResult.objects.filter(at__gte=since, at__lt=until).order_by()
    columns = ("target_id", "at", "error_kind", "latency_ms", "excuse", "retried")
    for target, at, *result in rows.values_list(*columns).iterator(chunk_size=2_000):
        key = (target, at.replace(second=0, microsecond=0))
        if key not in found:
            found[key] = RollupTally()
        found[key].count(*result)
    return found


def sum_into_period(below: Period, changed: RollupTallies, step: timedelta) -> RollupTallies:
    """Sum up the hours or days that contain a changed rollup, from the stored rollups below and the changed ones."""
    wanted = {(target, floor_to_step(start, step)) for target, start in changed}
    total: RollupTallies = {key: RollupTally() for key in wanted}
    for (target, start), tally in (load_rollups(below, wanted, step) | changed).items():
        if (key := (target, floor_to_step(start, step))) in total:
            total[key].add(tally)
    return total


def select_writable(period: Period, fresh: RollupTallies, only_changed: bool) -> RollupTallies:
    """Return the rollups with at least as many checks as the stored ones, without equal ones if `only_changed`."""
    known = load_counts(period, fresh)
    return {
        key: tally
        for key, tally in fresh.items()
        if checks_seen(tally.counts) >= checks_seen(known.get(key, NO_COUNTS))
        and not (only_changed and tally.counts == known.get(key))
    }


def checks_seen(counts: Counts) -> int:
    checks, _failures, excused, _retried = counts
    return checks + excused


def load_rollups(period: Period, wanted: set[tuple[int, datetime]], step: timedelta) -> RollupTallies:
    """Load the rollups of all targets in the wanted steps of time."""
    if not wanted:
        return {}
    starts = {start for _target, start in wanted}
    rows = Rollup.objects.filter(period=period, start__gte=min(starts), start__lt=max(starts) + step)
    columns = ("target_id", "start", *COUNT_FIELDS, "latency_sum_ms", "histogram")
    return {(target, start): RollupTally(*figures) for target, start, *figures in rows.values_list(*columns)}


def load_counts(period: Period, tallies: RollupTallies) -> dict[tuple[int, datetime], Counts]:
    if not tallies:
        return {}
    starts = {start for _target, start in tallies}
    rows = Rollup.objects.filter(period=period, start__gte=min(starts), start__lte=max(starts))
    columns = ("target_id", "start", *COUNT_FIELDS)
    return {(target, start): (*counts,) for target, start, *counts in rows.values_list(*columns)}


# --- Writing ---------------------------------------------------------------------------------------------------------


def store_rollups(period: Period, tallies: Mapping[tuple[int, datetime], RollupTally]) -> None:
    rows = [
        Rollup(target_id=target, period=period, start=start, **vars(tally))
        for (target, start), tally in sorted(tallies.items(), key=lambda item: item[0])
    ]
    Rollup.objects.bulk_create(
        rows,
        batch_size=1_000,
        update_conflicts=True,
        unique_fields=["target", "period", "start"],
        update_fields=[*COUNT_FIELDS, "latency_sum_ms", "histogram"],
    )
