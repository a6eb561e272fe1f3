"""Sweeps: all targets once, at a pace that whoever watches keeps himself, while the workers make no rounds.

A sweep takes part in the workers' lease and in the claims on targets, and writes results, rounds and incidents by the
same path, so that nothing is checked twice whoever watches.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from django.db import DatabaseError, close_old_connections, transaction
from django.db.models import Q
from django.utils import timezone

from monitoring import pace, rounds, watch
from monitoring.connectivity import Connectivity
from monitoring.models import CheckResult, Round, Target
from monitoring.probe.pool import Prober
from monitoring.querysets import CLOCKS_DIFFER
from portal.base.failures import error_line
from portal.models import JobRun
from portal.querysets import JobRunQuerySet
from portal.work.jobs import Lease, LeaseLost, claim_cycle, claimable_cycles

log = logging.getLogger("vigie.monitoring")
STEP_SECONDS = 0.2
# The checks of a sweep are spread over this long at most, and over this long for each target.
LONGEST_SPREAD, SPREAD_OF_ONE = 10.0, 0.25
# A worker's round lasts a minute, and another worker may be quicker than we are when it ends.
PATIENCE_SECONDS = 2.5 * rounds.LENGTH_SECONDS
# A result waits so long for the word whether a failure was ours, and is written down at once then.
UNWRITTEN_SECONDS = watch.PATIENCE_SECONDS + 1.0
# As a round ends: often enough to be there before the worker that waits for the same moment.
LOOK_SECONDS = 0.005

Asked = Callable[[], bool]


class Occupied(Exception):
    """Somebody else watches, and does not end."""


# --- Pace ------------------------------------------------------------------------------------------------------------


class Pace:
    """Moments `interval` seconds apart, beginning with the first it is asked at; what was missed is not made up for."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.due: float | None = None

    def next(self, now: float) -> float:
        """The moment of the next round, by the same clock as `now`."""
        if self.due is None:
            self.due = now
        else:
            self.due += self.interval * max(1, math.ceil((now - self.due) / self.interval))
        return self.due


def spread(count: int, interval: float) -> float:
    """Seconds over which that many checks of a sweep begin."""
    return min(LONGEST_SPREAD, interval / 2, SPREAD_OF_ONE * count)


# --- What is swept, and one sweep of it ------------------------------------------------------------------------------


class Running(Protocol):
    """A sweep under way. `total` and `done` are numbers of targets, `results` what was found so far. One that `is_lost`
    found something that could not be written down.
    """

    total: int
    results: list[CheckResult]
    is_stopped: bool
    is_lost: bool

    @property
    def done(self) -> int: ...

    @property
    def failing(self) -> int: ...

    def stop(self) -> None: ...

    def step(self, timeout: float) -> None: ...

    def is_over(self) -> bool: ...

    def close(self) -> Round | None: ...


class Source(Protocol):
    """What is swept. `begin` may wait, and gives None where the watch is to end; `keep` is called all the time."""

    def begin(self) -> Running | None: ...

    def keep(self) -> bool: ...


@dataclass
class Sweep:
    """All active targets once, each until it has a result or is watched no more."""

    run: watch.Watch
    seconds: float
    results: list[CheckResult] = field(default_factory=list)
    is_stopped: bool = False
    is_lost: bool = False

    def __post_init__(self) -> None:
        self.begun = self.moved = self.next_claim = time.monotonic()
        self.left = self.active()
        self.total = len(self.left)
        self.spread = spread(self.total, self.seconds)

    def active(self) -> set[int]:
        return set(Target.objects.active().values_list("pk", flat=True))

    @property
    def done(self) -> int:
        return self.total - len(self.left)

    @property
    def failing(self) -> int:
        return len(self.run.tally.failing)

    def stop(self) -> None:
        """Claims nothing more; what has been claimed is waited for."""
        self.is_stopped = True

    def is_over(self) -> bool:
        """Once stopped, it gives up what came back and cannot be written down: the claims run out by themselves."""
        if self.is_stopped and time.monotonic() - self.moved >= UNWRITTEN_SECONDS:
            self.is_lost = not self.run.is_over()
            return True
        return self.run.is_over() and (self.is_stopped or not self.left)

    def step(self, timeout: float) -> None:
        if not self.is_stopped and time.monotonic() >= self.next_claim:
            try:
                self.claim()
            except DatabaseError as error:
                log.warning("targets could not be claimed: %s", error_line(error))
                close_old_connections()
                self.next_claim = time.monotonic() + watch.PAUSE_SECONDS
        before = len(self.run.flying)
        for result in self.run.step(timeout):
            self.results.append(result)
            self.left.discard(result.target_id)
        if len(self.run.flying) != before or len(self.run.waiting) < len(self.run.flying):
            self.moved = time.monotonic()

    def claim(self) -> None:
        """What has not been claimed yet, whose check is to be tried again, or whose result was dropped."""
        if not self.waiting():
            return
        self.left &= self.active()
        now = timezone.now()
        # A retry is two seconds away; one that is planned for much later was so before the clock was set back.
        is_due = Q(attempts=0) | Q(next_check_at__lte=now) | Q(next_check_at__gt=now + CLOCKS_DIFFER)
        self.run.claim(Target.objects.filter(is_due, pk__in=self.waiting()), self.due)

    def waiting(self) -> set[int]:
        return self.left - {pk for pk, _claim in self.run.flying}

    def due(self, target: Target) -> float:
        return max(time.monotonic(), self.begun + pace.phase(target.pk) * self.spread)

    def close(self) -> Round | None:
        try:
            return self.run.close()
        except DatabaseError as error:
            log.warning("the round could not be written down: %s", error_line(error))
            close_old_connections()
            self.is_lost = True
            return None


class Seat:
    """The right to watch, which the workers hold otherwise: the lease of their rounds, kept for the whole watch.

    `on_wait` is called before it waits for somebody else's round to end.
    """

    def __init__(self, is_ending: Asked, on_wait: Callable[[], None]) -> None:
        self.is_ending = is_ending
        self.on_wait = on_wait
        self.lease: Lease | None = None
        self.next_renewal = float("-inf")

    def next_lease(self) -> Lease | None:
        """With a new number for a new sweep; None where the watch is to end. Raises Occupied."""
        self.lease = self.numbered_anew() or rounds.take(0) or self.awaited()
        self.next_renewal = float("-inf")
        return self.lease

    def numbered_anew(self) -> Lease | None:
        """Given back and claimed again in one transaction, in which nobody comes in between."""
        if self.lease is None:
            return None
        with transaction.atomic():
            self.lease.release()
            return claim_cycle(rounds.JOB, rounds.CYCLE, rounds.LEASE)

    def awaited(self) -> Lease | None:
        self.on_wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.is_ending():
            if claimable_cycles(ours(), timezone.now()).exists() and (lease := rounds.take(0)):
                return lease
            if time.monotonic() >= deadline:
                raise Occupied
            time.sleep(LOOK_SECONDS if is_about_to_end() else STEP_SECONDS)
        return None

    def keep(self) -> bool:
        """Renews it every few seconds; whether it is still ours."""
        if self.lease is None or time.monotonic() < self.next_renewal:
            return self.lease is not None
        try:
            rounds.renew(self.lease)
            self.next_renewal = time.monotonic() + rounds.RENEW_SECONDS
        except LeaseLost as lost:
            log.warning("%s", lost)
            self.lease = None
        except DatabaseError as error:
            log.warning("the lease could not be renewed: %s", error_line(error))
            close_old_connections()
            self.next_renewal = time.monotonic() + watch.PAUSE_SECONDS
        return self.lease is not None

    def leave(self) -> None:
        """Where the database is gone, the lease runs out by itself."""
        try:
            if self.lease is not None:
                self.lease.release()
        except DatabaseError as error:
            log.warning("the lease could not be given back: %s", error_line(error))
        self.lease = None


def ours() -> JobRunQuerySet:
    return JobRun.objects.filter(job=rounds.JOB, cycle_key=rounds.CYCLE)


def is_about_to_end() -> bool:
    """Whether a worker's round that is under way has a successor by now."""
    length = timedelta(seconds=rounds.LENGTH_SECONDS - rounds.HAND_OVER_SECONDS)
    return ours().filter(started_at__lte=timezone.now() - length).exists()


class Targets:
    """The targets of the database, as a source of sweeps. To be used in a `with` block, which gives the seat back."""

    def __init__(self, seat: Seat, interval: float) -> None:
        self.seat = seat
        self.interval = interval

    def __enter__(self) -> Targets:
        self.connectivity: Connectivity = watch.our_connectivity()
        self.prober: Prober = watch.our_prober()
        return self

    def __exit__(self, *error: object) -> None:
        self.seat.leave()
        self.prober.close()

    def begin(self) -> Sweep | None:
        lease = self.seat.next_lease()
        if lease is None:
            return None
        watch.release_dead()
        return Sweep(watch.Watch(lease.fence, self.prober, self.connectivity), self.interval)

    def keep(self) -> bool:
        return self.seat.keep()


# --- The watch -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swept:
    """A sweep that is over. It took `seconds`, of `interval` there were.

    No round where nothing came back, or it `is_lost`: what came back could not be written down.
    """

    round: Round | None
    results: list[CheckResult]
    seconds: float
    interval: float
    is_stopped: bool = False
    is_lost: bool = False

    @property
    def is_too_long(self) -> bool:
        return self.seconds > self.interval


# What is shown of a sweep under way, or of the seconds until the next.
Show = Callable[[Running | float], None]


def sweep_once(source: Source, is_ending: Asked, show: Show, interval: float = math.inf) -> Swept | None:
    """None where the watch is to end before it could begin. Raises Occupied."""
    running = source.begin()
    if running is None:
        return None
    started = time.monotonic()
    while not running.is_over():
        if not source.keep() or is_ending():
            running.stop()
        running.step(STEP_SECONDS)
        show(running)
    found, seconds = running.close(), time.monotonic() - started
    return Swept(found, running.results, seconds, interval, running.is_stopped, running.is_lost)


def sweeps(source: Source, interval: float, is_ending: Asked, show: Show) -> Iterator[Swept]:
    """One sweep after the other until the watch is to end, `interval` seconds from start to start. Raises Occupied.

    Where the database is gone when one is to begin, it is left out.
    """
    keeping = Pace(interval)
    while wait_until(keeping.next(time.monotonic()), source, is_ending, show):
        try:
            swept = sweep_once(source, is_ending, show, interval)
        except DatabaseError as error:
            log.warning("no round: %s", error_line(error))
            close_old_connections()
            continue
        if swept is not None:
            yield swept


def wait_until(due: float, source: Source, is_ending: Asked, show: Show) -> bool:
    """Whether to go on. Waits in small steps: what ends the watch is noted between them."""
    while not is_ending():
        left = due - time.monotonic()
        if left <= 0:
            return True
        source.keep()
        show(left)
        time.sleep(min(STEP_SECONDS, left))
    return False
