"""Ad-hoc watches: addresses that are not targets. Only the incidents of all of them together are stored."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from django.conf import settings
from django.db import DatabaseError, close_old_connections, transaction

from monitoring.alerts.fleet import (
    AD_HOC_PREFIX,
    WATCH_LEASE,
    renew_watch_lease,
    update_fleet_incidents,
    withdraw_watch_incidents,
)
from monitoring.checks import active_round, pacing
from monitoring.checks.connectivity import Connectivity
from monitoring.checks.record import FinishedCheck
from monitoring.checks.sweeps import STEP_SECONDS, IsEnding, Progress, Show, ShownRound
from monitoring.clock import Mark, mark
from monitoring.models import CheckResult, Exclusion, Round, Target
from monitoring.probe.pool import Prober
from portal.base.failures import error_line
from portal.base.text import shorten_with_hash
from portal.egress.urls import clean_url
from portal.notifications.notices import SUBJECT_LENGTH

log = logging.getLogger("vigie.monitoring")
PATHS = ("/", "/api", "/api/v1/", "/admin/", "/healthz")
# A missing path is not a failure of the service.
EXPECTED = "200-499"
RENEW_SECONDS = 10.0


def parse_base(text: str) -> str:
    """Return the base without a slash at its end. Raises ValueError with a code of `clean_url`, or "query"."""
    base = clean_url(text.strip()).rstrip("/")
    if "?" in base:
        raise ValueError("query")
    return base


def incident_subject(base: str, targets: Iterable[Target]) -> str:
    """Build the key of the watch's incidents. It names all paths: other paths, other incidents."""
    paths = ", ".join(sorted(target.name for target in targets))
    return shorten_with_hash(f"{AD_HOC_PREFIX}{base} ({paths})", SUBJECT_LENGTH)


def make_targets(base: str, paths: Iterable[str] = PATHS) -> list[Target]:
    """Build unsaved targets with negative keys, which no stored target has. Raises ValueError with a code."""
    names = dict.fromkeys(f"/{path.lstrip('/')}" for path in paths)
    return [
        Target(pk=-number, name=name, url=clean_url(base + name), expected_statuses=EXPECTED, retries=0)
        for number, name in enumerate(names, 1)
    ]


class AddressRound(active_round.ActiveRound):
    """A round whose results are counted and not stored."""

    def start(self, targets: Sequence[Target], seconds: float) -> None:
        for target in targets:
            self.in_flight[target.pk, ""] = target
            due = time.monotonic() + pacing.phase(target.pk) * seconds
            self.prober.submit((target.pk, ""), target.spec(), due, is_suspect=target.state == Target.State.DOWN)

    def step(self, timeout: float) -> list[CheckResult]:
        self.unrecorded += self.prober.finished(timeout)
        ready, self.unrecorded = self.split_by_verdict(self.unrecorded)
        results = [build_unsaved_result(check) for _probe, check in ready]
        for probe, _check in ready:
            del self.in_flight[probe.key]
        for result in results:
            self.tally.add(result)
        return results

    def fleet_results(self, now: Mark) -> list[CheckResult]:
        """Return all of them: no address has an incident of its own. Nothing is read: the database may be gone."""
        return self.tally.counted


def build_unsaved_result(check: FinishedCheck) -> CheckResult:
    """Build the result, and set the target's state by this one check."""
    target, outcome = check.target, check.outcome
    target.state = Target.State.UP if outcome.is_ok else Target.State.DOWN
    return CheckResult(
        target=target,
        at=check.at,
        error_kind=outcome.error_kind,
        detail=outcome.detail,
        status=outcome.status,
        latency_ms=outcome.latency_ms,
        excuse=Exclusion.OFFLINE if check.is_offline else "",
    )


class AddressWatch:
    """A watch of addresses, to be used in a `with` block. With an infinite `interval` it checks once.

    Rounds are kept in memory, so two new ones decide after a restart. An incident left open by a killed watch is taken
    over, and not notified twice. A watch renews the lease on its incidents, and withdraws them when it ends.
    """

    def __init__(self, base: str, targets: Sequence[Target], interval: float) -> None:
        self.subject = incident_subject(base, targets)
        self.targets = targets
        self.interval = interval
        self.number = 0
        self.history: deque[Round] = deque(maxlen=active_round.ROUNDS_REMEMBERED)
        self.next_renewal = float("-inf")

    def __enter__(self) -> AddressWatch:
        self.prober: Prober = active_round.make_prober()
        self.connectivity = load_connectivity()
        return self

    def __exit__(self, *error: object) -> None:
        self.prober.close()
        if self.interval < math.inf:
            write_if_possible(
                "the incidents could not be withdrawn", lambda: withdraw_watch_incidents(self.subject, mark())
            )

    def rounds(self, is_ending: IsEnding, show: Show) -> Iterator[ShownRound]:
        """Check the addresses once, or until the watch is to end, `interval` seconds from start to start."""
        started = time.monotonic()
        yield self.check_once(is_ending, show)
        while self.interval < math.inf:
            started = pacing.next_start(started, self.interval, time.monotonic())
            if not self.wait_until(started, is_ending, show):
                return
            yield self.check_once(is_ending, show)

    def check_once(self, is_ending: IsEnding, show: Show) -> ShownRound:
        """Start all checks of a round, and wait for them even if the watch is to end."""
        self.number += 1
        visit, started = AddressRound(self.number, self.prober, self.connectivity), time.monotonic()
        visit.start(self.targets, pacing.spread_seconds(len(self.targets), self.interval))
        results: list[CheckResult] = []
        is_stopped = False
        while not visit.is_over():
            self.renew_lease()
            is_stopped = is_stopped or is_ending()
            results += visit.step(STEP_SECONDS)
            show(Progress(len(results), len(self.targets), len(visit.tally.failing), is_stopped))
        found = visit.summarize(mark())
        self.update_incidents(found)
        return ShownRound(found, results, time.monotonic() - started, self.interval, is_stopped)

    def wait_until(self, start: float, is_ending: IsEnding, show: Show) -> bool:
        """Return whether to go on. Waits in small steps, since a signal only sets what `is_ending` reads."""
        while not is_ending():
            left = start - time.monotonic()
            if left <= 0:
                return True
            self.renew_lease()
            show(left)
            time.sleep(min(STEP_SECONDS, left))
        return False

    def renew_lease(self) -> None:
        """Renew the lease on the watch's incidents every RENEW_SECONDS. A single check has none."""
        if self.interval < math.inf and time.monotonic() >= self.next_renewal:
            self.next_renewal = time.monotonic() + RENEW_SECONDS
            write_if_possible("the lease could not be renewed", lambda: renew_watch_lease(self.subject, mark()))

    def update_incidents(self, newest: Round) -> None:
        self.history.appendleft(newest)
        now = mark()
        write_if_possible(
            "the incidents could not be updated",
            lambda: update_fleet_incidents(self.subject, list(self.history), now, watched_until=now.at + WATCH_LEASE),
        )


def write_if_possible(failure: str, write: Callable[[], object]) -> None:
    """Write in a transaction. If the database is gone, log the failure: the watch goes on."""
    try:
        with transaction.atomic():
            write()
    except DatabaseError as error:
        log.warning("%s: %s", failure, error_line(error))
        close_old_connections()


def load_connectivity() -> Connectivity:
    """Return the connectivity probe. Without a database, no earlier round proves that it ever reached the network."""
    try:
        return active_round.make_connectivity()
    except DatabaseError as error:
        log.warning("the last rounds could not be read: %s", error_line(error))
        close_old_connections()
        return Connectivity(settings.CONNECTIVITY_PROBES, was_ever_online=False)
