"""Checks become minutes, minutes hours, and hours days (UTC): what pages read instead of millions of rows.

Everything is counted anew from what lies below it, so that doing it twice changes nothing. Checks are kept for days and
minutes for weeks, and what is gone must not be missed above: a rollup never takes the place of one that has seen more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from monitoring.figures import histogram
from monitoring.figures.histogram import Histogram
from monitoring.figures.uptime import DAY, EPOCH, HOUR, MINUTE, floor
from monitoring.models import CheckResult, Rollup
from portal.work.jobs import AlreadyRunning, Lease, exclusive_lease

Period = Rollup.Period
# The cycles of the job may overlap, and all of them write the same hour: one at a time, whatever the cycle.
TURN, TURN_LENGTH = "monitoring.rolling_up", timedelta(minutes=2)
# A check stands at the moment it was decided and is written within two minutes; the rest is for a slow database.
LATE = timedelta(minutes=5)
# What one transaction writes: little enough that on SQLite nobody waits for it long.
BATCH = timedelta(minutes=10)
COUNTED = ("checks", "failures", "excused", "retried")
LEVELS = ((Period.MINUTE, Period.HOUR, HOUR), (Period.HOUR, Period.DAY, DAY))


# Checks, failures, excused and retried.
Counts = tuple[int, int, int, int]


@dataclass
class Tally:
    """The figures of one rollup; see the model."""

    checks: int = 0
    failures: int = 0
    excused: int = 0
    retried: int = 0
    latency_sum_ms: float = 0.0
    histogram: Histogram = field(default_factory=dict)

    @property
    def seen(self) -> int:
        return self.checks + self.excused

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
            histogram.add(self.histogram, latency_ms)

    def add(self, other: Tally) -> None:
        self.checks += other.checks
        self.failures += other.failures
        self.excused += other.excused
        self.retried += other.retried
        self.latency_sum_ms += other.latency_sum_ms
        for key, count in other.histogram.items():
            self.histogram[key] = self.histogram.get(key, 0) + count


# By target, and by the moment at which its minute, hour or day began.
Tallies = dict[tuple[int, datetime], Tally]


def roll_up(lease: Lease) -> dict[str, int]:
    """The periodic job; how many rollups of each period were written, those of one hour or day once a batch."""
    return catch_up(timezone.now(), lease)


def catch_up(now: datetime, lease: Lease) -> dict[str, int]:
    """Counts what was checked since the last minute that was counted, and a little before, however long ago it was.

    The running minute, hour and day are included.
    """
    try:
        with exclusive_lease(TURN, TURN_LENGTH) as own:
            return roll_all(unrolled_since(now), floor(now, MINUTE) + MINUTE, [lease, own])
    except AlreadyRunning:  # with the same
        return nothing_done()


def rebuild(since: datetime, until: datetime) -> dict[str, int]:
    """Counts the minutes of a period anew, with their hours and days, where the checks are still there.

    Raises Busy.
    """
    with exclusive_lease(TURN, TURN_LENGTH) as own:
        return roll_all(floor(since, MINUTE), until, [own], only_changed=False)


def roll_all(since: datetime, until: datetime, leases: list[Lease], *, only_changed: bool = True) -> dict[str, int]:
    done = nothing_done()
    for start, end in batches(since, until):
        for period, tallies in roll(start, end, leases, only_changed=only_changed).items():
            done[period] += len(tallies)
    return done


def nothing_done() -> dict[str, int]:
    return dict.fromkeys(Period.values, 0)


def unrolled_since(now: datetime) -> datetime:
    """Minutes that lie ahead were counted before the clock was set back, and say nothing of where we stand."""
    known = Rollup.objects.filter(period=Period.MINUTE, start__lte=now)
    last = known.order_by("-start").values_list("start", flat=True).first()
    return last - LATE if last else EPOCH


def batches(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The time in which something was checked, oldest first, in pieces that each lie within one hour."""
    results = CheckResult.objects.filter(at__lt=until).order_by("at").values_list("at", flat=True)
    while since < until and (first := results.filter(at__gte=since).first()):
        start = floor(first, MINUTE)
        since = min(start + BATCH, floor(start, HOUR) + HOUR, until)
        yield start, since


def roll(since: datetime, until: datetime, leases: list[Lease], *, only_changed: bool = True) -> dict[Period, Tallies]:
    """Counts these minutes, and the hour and the day they lie in; what was written. Raises LeaseLost.

    All of it is read before the transaction that writes it, which is short: nobody else writes while we have our turn.
    """
    written = {Period.MINUTE: surpassing(Period.MINUTE, counted(since, until), only_changed)}
    for below, period, step in LEVELS:
        written[period] = surpassing(period, summed(below, written[below], step), only_changed)
    if written[Period.MINUTE]:
        with transaction.atomic():
            for lease in leases:
                lease.extend()
            for period, tallies in written.items():
                write(period, tallies)
    return written


# --- What there is ---------------------------------------------------------------------------------------------------


def counted(since: datetime, until: datetime) -> Tallies:
    """The checks of these minutes."""
    found: Tallies = {}
    rows = CheckResult.objects.filter(at__gte=since, at__lt=until).order_by()
    columns = ("target_id", "at", "error_kind", "latency_ms", "excuse", "retried")
    for target, at, *result in rows.values_list(*columns).iterator(chunk_size=2_000):
        key = (target, at.replace(second=0, microsecond=0))
        if key not in found:
            found[key] = Tally()
        found[key].count(*result)
    return found


def summed(below: Period, changed: Tallies, step: timedelta) -> Tallies:
    """The hours, or days, in which something below them has changed: of all that is there, and of the change."""
    wanted = {(target, floor(start, step)) for target, start in changed}
    total: Tallies = {key: Tally() for key in wanted}
    for (target, start), tally in (stored(below, wanted, step) | changed).items():
        if (key := (target, floor(start, step))) in total:
            total[key].add(tally)
    return total


def surpassing(period: Period, fresh: Tallies, only_changed: bool) -> Tallies:
    """Those that have seen no less than what is stored, and say something else unless that does not matter."""
    known = stored_counts(period, fresh)
    nothing = (0, 0, 0, 0)
    return {
        key: tally
        for key, tally in fresh.items()
        if tally.seen >= seen(known.get(key, nothing)) and not (only_changed and tally.counts == known.get(key))
    }


def seen(counts: Counts) -> int:
    checks, _failures, excused, _retried = counts
    return checks + excused


def stored(period: Period, wanted: set[tuple[int, datetime]], step: timedelta) -> Tallies:
    """All rollups of that period in the steps of time that are wanted, whatever their target."""
    if not wanted:
        return {}
    starts = {start for _target, start in wanted}
    rows = Rollup.objects.filter(period=period, start__gte=min(starts), start__lt=max(starts) + step)
    columns = ("target_id", "start", *COUNTED, "latency_sum_ms", "histogram")
    return {(target, start): Tally(*figures) for target, start, *figures in rows.values_list(*columns)}


def stored_counts(period: Period, tallies: Tallies) -> dict[tuple[int, datetime], Counts]:
    if not tallies:
        return {}
    starts = {start for _target, start in tallies}
    rows = Rollup.objects.filter(period=period, start__gte=min(starts), start__lte=max(starts))
    columns = ("target_id", "start", *COUNTED)
    return {(target, start): (*counts,) for target, start, *counts in rows.values_list(*columns)}


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(period: Period, tallies: Mapping[tuple[int, datetime], Tally]) -> None:
    rows = [
        Rollup(
            target_id=target,
            period=period,
            start=start,
            checks=tally.checks,
            failures=tally.failures,
            excused=tally.excused,
            retried=tally.retried,
            latency_sum_ms=tally.latency_sum_ms,
            histogram=tally.histogram,
        )
        for (target, start), tally in sorted(tallies.items(), key=lambda item: item[0])
    ]
    Rollup.objects.bulk_create(
        rows,
        batch_size=1_000,
        update_conflicts=True,
        unique_fields=["target", "period", "start"],
        update_fields=[*COUNTED, "latency_sum_ms", "histogram"],
    )
