"""Fixtures of monitoring: targets, their checks, and a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.utils import timezone

from monitoring.alerts.incidents import IncidentOpening, open_incidents
from monitoring.checks import connectivity
from monitoring.checks.record import FinishedCheck, record_checks
from monitoring.clock import Mark, mark
from monitoring.models import CheckResult, Incident, Target
from monitoring.probe.http import ProbeOutcome
from portal.models import NotificationChannel

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
REFUSED = ProbeOutcome("connect", "ECONNREFUSED")
numbers = count(1)


def good_outcome(latency_ms: float = 100.0, **fields: Any) -> ProbeOutcome:
    return ProbeOutcome(status=200, latency_ms=latency_ms, **fields)


@pytest.fixture(autouse=True)
def resolver_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the connectivity probe off the network. Names of targets are resolved as usual."""
    monkeypatch.setattr(connectivity, "system_resolver", lambda host, deadline: [])


@pytest.fixture
def channel(db):
    return NotificationChannel.objects.create(name="Operators", kind="email", addresses="ops@example.org")


@pytest.fixture
def make_target(db: None) -> Callable[..., Target]:
    """Make targets without retries that open and close after two checks, by default."""

    def make(name: str = "API", **fields: Any) -> Target:
        usual = {"url": "https://api.example.org/", "retries": 0, "failures_to_open": 2, "successes_to_close": 2}
        return Target.objects.create(name=name, **usual | fields)

    return make


@pytest.fixture
def target(make_target):
    return make_target()


class CheckRunner:
    """Runs checks of a target at its interval, by a clock of its own."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.now = Mark(NOON, "boot", 1000.0)

    def pass_by(self, **length: float) -> Mark:
        passed = timedelta(**length)
        self.now = replace(self.now, at=self.now.at + passed, ticks=self.now.ticks + passed.total_seconds())
        return self.now

    def set_clock(self, **length: float) -> None:
        """Change the time of day without letting time pass."""
        self.now = replace(self.now, at=self.now.at + timedelta(**length))

    def claim(self) -> Target:
        Target.objects.filter(pk=self.target.pk).update(claim=f"claim {next(numbers)}", claimed_at=self.now.at)
        return Target.objects.get(pk=self.target.pk)

    def find(self, *outcomes: ProbeOutcome, is_offline: bool = False) -> list[CheckResult]:
        """Record these outcomes and return their results."""
        results = []
        for outcome in outcomes:
            self.pass_by(seconds=self.target.interval)
            results += record_checks([FinishedCheck(self.claim(), outcome, self.now.at, is_offline)], self.now)
        self.target.refresh_from_db()
        return results


@pytest.fixture
def checks(target):
    return CheckRunner(target)


@pytest.fixture
def opened(make_target):
    """Open an incident of a target, or of all."""

    def opening(name="", rule="unavailable", ago=timedelta(hours=1), **fields):
        target = make_target(name) if name else None
        (incident,) = open_incidents(
            [IncidentOpening(target.subject if target else "fleet", rule, target, **fields)], mark()
        )
        Incident.objects.filter(pk=incident.pk).update(opened_at=timezone.now() - ago)
        return Incident.objects.get(pk=incident.pk)

    return opening
