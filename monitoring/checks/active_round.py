"""A round under way: claim targets, probe them, record the results and sum them up. Workers and sweeps drive it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, transaction

from monitoring.alerts import maintenance
from monitoring.alerts.fleet import FLEET, update_fleet_incidents, update_portal_incident
from monitoring.checks.connectivity import RESOLVER_ERRORS, Connectivity
from monitoring.checks.record import UNCLAIMED, FinishedCheck, record_checks
from monitoring.clock import Mark, mark
from monitoring.figures.histogram import nearest_rank
from monitoring.models import CheckResult, Incident, Round, Target
from monitoring.probe.kinds import NETWORK
from monitoring.probe.pool import FinishedProbe, Prober
from monitoring.querysets import TargetQuerySet
from portal.base.failures import error_line
from portal.work.processes import current_process, dead_processes

log = logging.getLogger("vigie.monitoring")
# Targets are claimed this long before they are due, so that each check starts on time.
AHEAD = timedelta(seconds=1)
# Longer than any attempt takes, including its waiting before and after.
CLAIM_LENGTH = timedelta(seconds=90)
# How long a failure waits for the verdict on our own connectivity.
PATIENCE_SECONDS = 5.0
ROUNDS_REMEMBERED = 15
# Pause between two attempts to reach a database that is gone.
PAUSE_SECONDS = 1.0
# Errors that pass: no connection, a deadlock, a lock that was held for too long.
DATABASE_GONE = (OperationalError, InterfaceError)
# A round stores the names of this many failing targets.
MOST_NAMED = 100
SUSPECT = (Target.State.DOWN, Target.State.UNSTABLE, Target.State.FAILING)


@dataclass
class RoundTally:
    """Counts of a round so far. `lateness` is in seconds, one entry a probe."""

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
    """Figures of the counted results. Latencies are those of good answers, in milliseconds."""

    checks: int
    failing: list[CheckResult]
    latencies: list[float]

    @classmethod
    def of_results(cls, results: Sequence[CheckResult]) -> ResultSummary:
        latencies = [result.latency_ms for result in results if result.latency_ms is not None]
        return cls(len(results), [result for result in results if result.error_kind], latencies)

    @property
    def names(self) -> list[str]:
        return sorted({result.target.name for result in self.failing})[:MOST_NAMED]

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """Return name, error kind and detail of the newest failure of each target."""
        newest = {result.target.name: result for result in self.failing}
        return [(name, newest[name].error_kind, newest[name].detail) for name in self.names]

    @property
    def mean_ms(self) -> float | None:
        return sum(self.latencies) / len(self.latencies) if self.latencies else None

    @property
    def p95_ms(self) -> float | None:
        return nearest_rank(self.latencies, 0.95)


class ActiveRound:
    """One round: the targets in flight, and the finished probes that are not recorded yet.

    `number` is the fencing number of the watch lease. Claims carry it, so that results of a lost claim are discarded.
    """

    def __init__(self, number: int, prober: Prober, connectivity: Connectivity) -> None:
        self.number = number
        self.prober = prober
        self.connectivity = connectivity
        self.started = mark()
        self.tally = RoundTally()
        self.claims = 0
        self.in_flight: dict[tuple[int, str], Target] = {}
        self.unrecorded: list[FinishedProbe] = []
        self.lookups_fail = False
        connectivity.start_probe()

    # --- Claiming ----------------------------------------------------------------------------------------------------

    def claim(self, targets: TargetQuerySet, due: Callable[[Target], float]) -> int:
        """Claim those of the targets that are free, and plan each probe at its monotonic moment. Return the number."""
        now = mark().at
        self.claims += 1
        name = f"{self.number}.{self.claims} {current_process()}"
        claimed = targets.claim_by(name, now, now + CLAIM_LENGTH)
        for target in claimed:
            key = (target.pk, name)
            self.in_flight[key] = target
            is_suspect = target.state in SUSPECT or target.attempts > 0
            self.prober.submit(key, target.spec(), due(target), is_suspect=is_suspect)
        return len(claimed)

    def claim_due(self, now: datetime) -> int:
        """Claim the targets due within AHEAD. Overdue ones are probed at once."""
        base = time.monotonic()
        due = Target.objects.due(now + AHEAD, now).order_by("next_check_at")
        return self.claim(due, lambda target: base + seconds_until_due(target, now))

    # --- Recording ---------------------------------------------------------------------------------------------------

    def step(self, timeout: float) -> list[CheckResult]:
        """Wait at most `timeout` seconds for finished probes, record them and return the results.

        If the database is gone, they are kept for the next step.
        """
        for probe in self.prober.finished(timeout):
            self.tally.lateness.append(probe.started - probe.due)
            self.unrecorded.append(probe)
        ready, self.unrecorded = self.split_by_verdict(self.unrecorded)
        try:
            results = record_or_split([check for _probe, check in ready])
        except DATABASE_GONE as error:
            log.warning("checks could not be recorded: %s", error_line(error))
            self.unrecorded += [probe for probe, _check in ready]
            close_old_connections()
            time.sleep(PAUSE_SECONDS)
            return []
        for probe, _check in ready:
            self.in_flight.pop(probe.key, None)
        for result in results:
            self.tally.add(result)
        return results

    def split_by_verdict(
        self, probes: list[FinishedProbe]
    ) -> tuple[list[tuple[FinishedProbe, FinishedCheck]], list[FinishedProbe]]:
        """Return the checks that can be recorded, and the failures that wait for the verdict on our connectivity."""
        now, ticks = mark().at, time.monotonic()
        ready, waiting = [], []
        for probe in probes:
            is_ours = self.is_our_failure(probe)
            if is_ours is None and ticks - probe.ended < PATIENCE_SECONDS:
                waiting.append(probe)
            else:
                at = now - timedelta(seconds=ticks - probe.started)
                ready.append((probe, FinishedCheck(self.in_flight[probe.key], probe.outcome, at, bool(is_ours))))
        return ready, waiting

    def is_our_failure(self, probe: FinishedProbe) -> bool | None:
        """Return whether the portal's own network may have caused the failure. None if that is not known yet."""
        outcome = probe.outcome
        if outcome.error_kind not in NETWORK:
            return False
        is_ours = self.connectivity.may_explain(probe.ended)
        if is_ours is False and (outcome.error_kind, outcome.detail) in RESOLVER_ERRORS:
            is_ours = self.connectivity.may_explain_lookup(probe.ended)
            self.lookups_fail = self.lookups_fail or is_ours is True
        return is_ours

    def is_over(self) -> bool:
        return not self.in_flight

    # --- Summing up --------------------------------------------------------------------------------------------------

    def close(self) -> Round | None:
        """Store the round and update the incidents of all targets together. Return None if nothing came back."""
        if not self.tally.counted and not self.tally.excused:
            return None
        now = mark()
        with transaction.atomic():
            stored = self.summarize(now)
            stored.save()
            update_fleet_incidents(FLEET, list(Round.objects.latest_first()[:ROUNDS_REMEMBERED]), now)
            update_portal_incident(self.connectivity, now, lookups_fail=self.lookups_fail)
        return stored

    def summarize(self, now: Mark) -> Round:
        total = ResultSummary.of_results(self.tally.counted)
        judged = ResultSummary.of_results(self.fleet_results(now))
        return Round(
            number=self.number,
            started_at=now.at - self.started.until(now),
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
            is_online=False if self.lookups_fail else self.connectivity.status(),
        )

    def fleet_results(self, now: Mark) -> list[CheckResult]:
        """Return the results that the fleet rule counts.

        Targets with an open incident of their own, which people know of, and those under maintenance are left out.
        """
        rules = (Incident.Rule.UNAVAILABLE, Incident.Rule.UNSTABLE, Incident.Rule.SLOW)
        with_incident = set(Incident.objects.open().filter(rule__in=rules).values_list("target", flat=True))
        excluded = with_incident | maintenance.active_maintenance(now.at).targets
        return [result for result in self.tally.counted if result.target_id not in excluded]


def record_or_split(checks: Sequence[FinishedCheck]) -> list[CheckResult]:
    """Record the checks together, or one by one if that fails, so that a bad one keeps no other from being recorded.

    Raises the errors in DATABASE_GONE.
    """
    try:
        return record_checks(checks, mark()) if checks else []
    except DATABASE_GONE:
        raise
    except Exception as error:
        if len(checks) == 1:
            log.exception("the check of target %s could not be recorded", checks[0].target.pk)
            return []
        log.warning("checks could not be recorded together: %s", error_line(error))
        return [result for check in checks for result in record_or_split([check])]


def seconds_until_due(target: Target, now: datetime) -> float:
    """Return 0 if the check is late, or was planned before the clock was set back."""
    seconds = (target.next_check_at - now).total_seconds()
    return seconds if 0 <= seconds <= AHEAD.total_seconds() else 0.0


def release_dead_claims() -> int:
    """Release the claims of dead processes on this host. Return the number of targets."""
    claims = list(Target.objects.exclude(claim="").order_by().values_list("claim", flat=True).distinct())
    dead = dead_processes(claim.partition(" ")[2] for claim in claims)
    orphaned = [claim for claim in claims if claim.partition(" ")[2] in dead]
    return Target.objects.filter(claim__in=orphaned).update(**UNCLAIMED) if orphaned else 0


def make_connectivity() -> Connectivity:
    """Return the connectivity probe, which is trusted if one of the last rounds reached the network, or while an
    incident says that it is offline.
    """
    latest = Round.objects.latest_first().values_list("is_online", flat=True)[:ROUNDS_REMEMBERED]
    offline_incidents = Incident.objects.open().filter(rule=Incident.Rule.OFFLINE)
    return Connectivity(settings.CONNECTIVITY_PROBES, was_ever_online=any(latest) or offline_incidents.exists())


def make_prober() -> Prober:
    return Prober(threads=settings.PROBE_THREADS, allow_private=settings.PROBE_ALLOW_PRIVATE)
