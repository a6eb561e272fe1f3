"""What is judged by rounds: whether all targets together fail or are slow, and whether it is us who are offline."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from monitoring.clock import Mark
from monitoring.incidents import Opening, open_all, resolve
from monitoring.models import Incident, Round
from monitoring.thresholds import FleetLimits, fleet_verdicts

Rule = Incident.Rule
FLEET, PORTAL = "fleet", "portal"


def our_limits() -> FleetLimits:
    return FleetLimits(settings.FLEET_ERROR_PERCENT / 100, settings.FLEET_LATENCY_ALERT_MS)


def judge_fleet(subject: str, rounds: Sequence[Round], now: Mark) -> list[Incident]:
    """Opens and closes the fleet's incidents by the newest rounds, newest first; the incidents opened."""
    found = fleet_verdicts(rounds, our_limits())
    known = {incident.rule: incident for incident in Incident.objects.open().filter(subject=subject)}
    resolve([known[rule] for rule in sorted(found.held) if rule in known], now)
    return open_all([Opening(subject, rule, facts=facts_of(rounds[0])) for rule in sorted(found.broken)], now)


def facts_of(newest: Round) -> dict[str, object]:
    return {
        "checks": newest.judged_checks,
        "failures": newest.judged_failures,
        "p95_ms": newest.p95_ms,
        "failing": newest.failing,
    }


def judge_ourselves(is_online: bool | None, now: Mark) -> None:
    """`is_online` is None where nobody can tell: then it stays as it was."""
    if is_online is False:
        open_all([Opening(PORTAL, Rule.OFFLINE)], now)
    elif is_online:
        resolve(list(Incident.objects.open().filter(subject=PORTAL)), now)
