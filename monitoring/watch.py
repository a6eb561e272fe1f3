"""Watching targets: claim, probe, write down, and sum up as a round. Whoever keeps the pace calls this."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, transaction

from monitoring import maintenance
from monitoring.clock import Mark, mark
from monitoring.connectivity import RESOLVER_ERRORS, Connectivity
from monitoring.fleet import FLEET, update_fleet_incidents, update_portal_incident
from monitoring.histogram import nearest_rank
from monitoring.models import CheckResult, Incident, Round, Target
from monitoring.probe.kinds import NETWORK
from monitoring.probe.pool import FinishedProbe, Prober
from monitoring.querysets import TargetQuerySet
from monitoring.record import UNCLAIMED, FinishedCheck, record_checks
from portal.base.failures import error_line
from portal.work.processes import current_process, dead_processes

log = logging.getLogger("vigie.monitoring")
# Claimed this long before they are due, so that each starts at its moment.
AHEAD = timedelta(seconds=1)
# Longer than any attempt takes, with what it waits for before and after.
CLAIM_LENGTH = timedelta(seconds=90)
# How long a failure waits for the word whether it was ours.
PATIENCE_SECONDS = 5.0
ROUNDS_REMEMBERED = 15
# While the database is gone, nothing is asked of it more often than this.
PAUSE_SECONDS = 1.0
# What goes by: no connection, a deadlock, a lock that was held for too long.
DATABASE_GONE = (OperationalError, InterfaceError)
MOST_NAMED = 100
SUSPECT = (Target.State.DOWN, Target.State.UNSTABLE, Target.State.FAILING)


@dataclass
class RoundTally:
    """What the checks of a round came to."""

    counted: list[CheckResult] = field(default_factory=list)
    excused: int = 0
    retried: int = 0
    failing: set[str] = field(default_factory=set)
    lateness: list[float] = field(default_factory=list)

    def add(self, result: CheckResult) -> None:
        if result.excuse:
            self.excused += 1
            return
        self.counted.append(result)
        self.retried += result.retried
        if result.error_kind:
            self.failing.add(result.target.name)


@dataclass(frozen=True)
class ResultSummary:
    """Of results that count. Latencies are those of good answers, in milliseconds."""

    checks: int
    failing: list[CheckResult]
    latencies: list[float]

    @classmethod
    def of(cls, results: Sequence[CheckResult]) -> ResultSummary:
        latencies = [result.latency_ms for result in results if result.latency_ms is not None]
        return cls(len(results), [result for result in results if result.error_kind], latencies)

    @property
    def names(self) -> list[str]:
        return sorted({result.target.name for result in self.failing})[:MOST_NAMED]

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """Name, error kind and detail of the newest failure of each target."""
        newest = {result.target.name: result for result in self.failing}
        return [(name, newest[name].error_kind, newest[name].detail) for name in self.names]

    @property
    def mean_ms(self) -> float | None:
        return sum(self.latencies) / len(self.latencies) if self.latencies else None

    @property
    def p95_ms(self) -> float | None:
        return nearest_rank(self.latencies, 0.95)


class ActiveRound:
    """One round: what was claimed for it, what came back, and what is still to be written down."""

    def __init__(self, number: int, prober: Prober, connectivity: Connectivity) -> None:
        self.number = number
        self.prober = prober
        self.connectivity = connectivity
        self.begun = mark()
        self.tally = RoundTally()
        self.claims = 0
        self.flying: dict[tuple[int, str], Target] = {}
        self.waiting: list[FinishedProbe] = []
        self.lookups_fail = False
        connectivity.ask()

    # --- Claiming ----------------------------------------------------------------------------------------------------

    def claim(self, targets: TargetQuerySet, due: Callable[[Target], float]) -> int:
        """Claims those of the targets that nobody is at, and plans each at its monotonic moment. The number claimed."""
        now = mark().at
        self.claims += 1
        name = f"{self.number}.{self.claims} {current_process()}"
        claimed = targets.claim_by(name, now, now + CLAIM_LENGTH)
        for target in claimed:
            key = (target.pk, name)
            self.flying[key] = target
            is_suspect = target.state in SUSPECT or target.attempts > 0
            self.prober.submit(key, target.spec(), due(target), is_suspect=is_suspect)
        return len(claimed)

    def claim_due(self, now: datetime) -> int:
        """What is due within AHEAD. What should have been done before is due at once."""
        base = time.monotonic()
        due = Target.objects.due(now + AHEAD, now).order_by("next_check_at")
        return self.claim(due, lambda target: base + seconds_until_due(target, now))

    # --- Writing down ------------------------------------------------------------------------------------------------

    def step(self, timeout: float) -> list[CheckResult]:
        """Writes down what has come back, for which it waits at most `timeout` seconds; the results.

        Where the database is gone it is kept for the next step.
        """
        for finished in self.prober.finished(timeout):
            self.tally.lateness.append(finished.started - finished.due)
            self.waiting.append(finished)
        ready, self.waiting = self.sorted_out(self.waiting)
        try:
            results = record_or_split([checked for _finished, checked in ready])
        except DATABASE_GONE as error:
            log.warning("checks could not be written down: %s", error_line(error))
            self.waiting += [finished for finished, _checked in ready]
            close_old_connections()
            time.sleep(PAUSE_SECONDS)
            return []
        for finished, _checked in ready:
            self.flying.pop(finished.key, None)
        for result in results:
            self.tally.add(result)
        return results

    def sorted_out(
        self, waiting: list[FinishedProbe]
    ) -> tuple[list[tuple[FinishedProbe, FinishedCheck]], list[FinishedProbe]]:
        """What can be written down, and what waits for the word whether the failure was ours."""
        now, ticks = mark().at, time.monotonic()
        ready, later = [], []
        for finished in waiting:
            excuse = self.is_ours(finished)
            if excuse is None and ticks - finished.ended < PATIENCE_SECONDS:
                later.append(finished)
            else:
                at = now - timedelta(seconds=ticks - finished.started)
                ready.append((finished, FinishedCheck(self.flying[finished.key], finished.outcome, at, bool(excuse))))
        return ready, later

    def is_ours(self, finished: FinishedProbe) -> bool | None:
        """Return whether the failure may be the portal's own; None as long as that is not known."""
        outcome = finished.outcome
        if outcome.error_kind not in NETWORK:
            return False
        excuse = self.connectivity.excuses(finished.ended)
        if excuse is False and (outcome.error_kind, outcome.detail) in RESOLVER_ERRORS:
            excuse = self.connectivity.excuses_lookup(finished.ended)
            self.lookups_fail = self.lookups_fail or excuse is True
        return excuse

    def is_over(self) -> bool:
        return not self.flying

    # --- Summing up --------------------------------------------------------------------------------------------------

    def close(self) -> Round | None:
        """Writes the round down and judges all targets by it. None for a round in which nothing came back."""
        if not self.tally.counted and not self.tally.excused:
            return None
        now = mark()
        with transaction.atomic():
            found = self.summary(now)
            found.save()
            update_fleet_incidents(FLEET, list(Round.objects.latest_first()[:ROUNDS_REMEMBERED]), now)
            update_portal_incident(self.connectivity, now, lookups_fail=self.lookups_fail)
        return found

    def summary(self, now: Mark) -> Round:
        total, judged = ResultSummary.of(self.tally.counted), ResultSummary.of(self.judged(now))
        return Round(
            number=self.number,
            started_at=now.at - self.begun.until(now),
            finished_at=now.at,
            checks=total.checks,
            failures=len(total.failing),
            excused=self.tally.excused,
            retried=self.tally.retried,
            mean_ms=total.mean_ms,
            p95_ms=total.p95_ms,
            failing=total.names,
            judged_checks=judged.checks,
            judged_failures=len(judged.failing),
            judged_p95_ms=judged.p95_ms,
            judged_failing=judged.errors,
            is_online=False if self.lookups_fail else self.connectivity.verdict(),
        )

    def judged(self, now: Mark) -> list[CheckResult]:
        """Without the targets of which people were told by themselves, and those under maintenance."""
        rules = (Incident.Rule.UNAVAILABLE, Incident.Rule.UNSTABLE, Incident.Rule.SLOW)
        told = set(Incident.objects.open().filter(rule__in=rules).values_list("target", flat=True))
        covered = maintenance.covering(now.at)
        found = self.tally.counted
        return [one for one in found if one.target_id not in told and one.target_id not in covered.targets]


def record_or_split(batch: Sequence[FinishedCheck]) -> list[CheckResult]:
    """What was written down of it. One result that cannot be keeps no other from it. Raises what GONE names."""
    try:
        return record_checks(batch, mark()) if batch else []
    except DATABASE_GONE:
        raise
    except Exception as error:
        if len(batch) == 1:
            log.exception("the check of %s cannot be written down", batch[0].target.pk)
            return []
        log.warning("checks could not be written down together: %s", error_line(error))
        return [result for checked in batch for result in record_or_split([checked])]


def seconds_until_due(target: Target, now: datetime) -> float:
    """Seconds from now; none for what is late, or was planned before the clock was set back."""
    seconds = (target.next_check_at - now).total_seconds()
    return seconds if 0 <= seconds <= AHEAD.total_seconds() else 0.0


def release_dead_claims() -> int:
    """Frees what processes had claimed that are no more; the number of targets."""
    claims = list(Target.objects.exclude(claim="").order_by().values_list("claim", flat=True).distinct())
    gone = dead_processes(claim.partition(" ")[2] for claim in claims)
    left = [claim for claim in claims if claim.partition(" ")[2] in gone]
    return Target.objects.filter(claim__in=left).update(**UNCLAIMED) if left else 0


def make_connectivity() -> Connectivity:
    """Trusted where one of the last rounds reached the network, and for as long as it is known to be missed."""
    latest = Round.objects.latest_first().values_list("is_online", flat=True)[:ROUNDS_REMEMBERED]
    is_missed = Incident.objects.open().filter(rule=Incident.Rule.OFFLINE)
    return Connectivity(settings.CONNECTIVITY_PROBES, was_online=any(latest) or is_missed.exists())


def make_prober() -> Prober:
    return Prober(threads=settings.PROBE_THREADS, allow_private=settings.PROBE_ALLOW_PRIVATE)
