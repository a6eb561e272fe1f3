"""Sweeps: every active target checked once, as `beta_monitor` does it without `--watch`.

A sweep takes the workers' watch lease and claims targets as they do, and stores results, rounds and incidents by the
same path, so that nothing is checked twice.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import DatabaseError, close_old_connections
from django.db.models import Q
from django.utils import timezone

from monitoring.checks import active_round, pacing, worker_rounds
from monitoring.models import CheckResult, Round, Target
from monitoring.querysets import CLOCKS_DIFFER
from portal.base.failures import error_line
from portal.work.jobs import claimable_cycles

log = logging.getLogger("vigie.monitoring")
STEP_SECONDS = 0.2
# A worker's round lasts a minute, and another worker may be quicker than we are when it ends.
PATIENCE_SECONDS = 2.5 * worker_rounds.LENGTH_SECONDS
# A stopped sweep gives up this long after its last progress: a failure waits as long for the verdict on our network.
UNWRITTEN_SECONDS = active_round.PATIENCE_SECONDS + 1.0
# Pause between two looks while a worker's round ends, short enough to take the lease before its successor.
LOOK_SECONDS = 0.005


class LeaseUnavailable(Exception):
    """The workers keep the watch lease all the time."""


@dataclass(frozen=True)
class Progress:
    """Progress of a round, in numbers of targets."""

    done: int
    total: int
    failing: int
    is_stopped: bool = False


@dataclass(frozen=True)
class ShownRound:
    """A round in a terminal. It took `seconds`, and the next one starts `interval` seconds after its start.

    `round` is None if nothing came back, or if the round `is_lost`: it could not be stored.
    """

    round: Round | None
    results: list[CheckResult]
    seconds: float = 0.0
    interval: float = math.inf
    is_stopped: bool = False
    is_lost: bool = False

    @property
    def is_too_long(self) -> bool:
        return self.seconds > self.interval


# Shows a round under way, or the seconds until the next.
Show = Callable[[Progress | float], None]
IsEnding = Callable[[], bool]


@dataclass
class Sweep:
    """All active targets once, each until it has a result or is no longer active."""

    run: active_round.ActiveRound
    results: list[CheckResult] = field(default_factory=list)
    is_stopped: bool = False
    is_lost: bool = False

    def __post_init__(self) -> None:
        self.started = self.progressed_at = self.next_claim = time.monotonic()
        self.left = self.active()
        self.total = len(self.left)
        self.spread = pacing.spread_seconds(self.total, math.inf)

    def active(self) -> set[int]:
        return set(Target.objects.active().values_list("pk", flat=True))

    @property
    def progress(self) -> Progress:
        failing = len(self.run.tally.failing)
        return Progress(self.total - len(self.left), self.total, failing, self.is_stopped)

    def stop(self) -> None:
        """Claim no more targets. Checks under way are waited for."""
        self.is_stopped = True

    def is_over(self) -> bool:
        """Return whether all is recorded. A stopped sweep gives up what cannot be stored: the claims expire."""
        if self.is_stopped and time.monotonic() - self.progressed_at >= UNWRITTEN_SECONDS:
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
                self.next_claim = time.monotonic() + active_round.PAUSE_SECONDS
        in_flight = len(self.run.in_flight)
        for result in self.run.step(timeout):
            self.results.append(result)
            self.left.discard(result.target_id)
        if len(self.run.in_flight) != in_flight or len(self.run.unrecorded) < len(self.run.in_flight):
            self.progressed_at = time.monotonic()

    def claim(self) -> None:
        """Claim the targets not claimed yet, those to retry, and those whose result was discarded."""
        if not self.unclaimed():
            return
        self.left &= self.active()
        now = timezone.now()
        # A retry is two seconds away. One planned for much later was planned before the clock was set back.
        is_due = Q(attempts=0) | Q(next_check_at__lte=now) | Q(next_check_at__gt=now + CLOCKS_DIFFER)
        self.run.claim(Target.objects.filter(is_due, pk__in=self.unclaimed()), self.due)

    def unclaimed(self) -> set[int]:
        return self.left - {pk for pk, _claim in self.run.in_flight}

    def due(self, target: Target) -> float:
        return max(time.monotonic(), self.started + pacing.phase(target.pk) * self.spread)

    def close(self) -> Round | None:
        """Store the round. Return None if nothing came back, or if the database is gone."""
        try:
            return self.run.close()
        except DatabaseError as error:
            log.warning("the round could not be stored: %s", error_line(error))
            close_old_connections()
            self.is_lost = True
            return None


def sweep_once(is_ending: IsEnding, on_wait: Callable[[], None], show: Show) -> ShownRound | None:
    """Check all active targets once. `on_wait` is called before it waits for a worker's round to end.

    Return None if it is to end before it could begin. Raises LeaseUnavailable.
    """
    lease = worker_rounds.take_lease(0) or wait_for_lease(is_ending, on_wait)
    if lease is None:
        return None
    started = time.monotonic()
    try:
        with active_round.make_prober() as prober:
            active_round.release_dead_claims()
            sweep = Sweep(active_round.ActiveRound(lease.fence, prober, active_round.make_connectivity()))
            while not sweep.is_over():
                if not lease.keep() or is_ending():
                    sweep.stop()
                sweep.step(STEP_SECONDS)
                show(sweep.progress)
            found = sweep.close()
    finally:
        lease.release()
    seconds = time.monotonic() - started
    return ShownRound(found, sweep.results, seconds, is_stopped=sweep.is_stopped, is_lost=sweep.is_lost)


def wait_for_lease(is_ending: IsEnding, on_wait: Callable[[], None]) -> worker_rounds.WatchLease | None:
    on_wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_ending():
        if claimable_cycles(worker_rounds.lease_rows(), timezone.now()).exists() and (
            lease := worker_rounds.take_lease(0)
        ):
            return lease
        if time.monotonic() >= deadline:
            raise LeaseUnavailable
        time.sleep(LOOK_SECONDS if is_about_to_end() else STEP_SECONDS)
    return None


def is_about_to_end() -> bool:
    """Return whether the worker's round under way has asked for its successor."""
    length = timedelta(seconds=worker_rounds.LENGTH_SECONDS - worker_rounds.HAND_OVER_SECONDS)
    return worker_rounds.lease_rows().filter(started_at__lte=timezone.now() - length).exists()
