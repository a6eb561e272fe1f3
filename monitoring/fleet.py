"""What is judged by rounds: whether all targets together fail or are slow, and whether it is us who are offline."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from monitoring import maintenance
from monitoring.clock import Mark
from monitoring.incidents import Opening, open_all, resolve
from monitoring.models import Incident, Round, Target
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
    is_quiet = bool(found.broken) and maintenance.covering(now.at).everything
    facts = facts_of(rounds[0])
    return open_all([Opening(subject, rule, facts=facts, is_quiet=is_quiet) for rule in sorted(found.broken)], now)


def withdraw_orphans(now: Mark) -> int:
    """Ends what nobody judges any more: of the targets where none is active, of the network where nothing is probed."""
    subjects = [FLEET] if not Target.objects.active().exists() else []
    subjects += [PORTAL] if not settings.CONNECTIVITY_PROBES else []
    return resolve(list(Incident.objects.open().filter(subject__in=subjects)), now, is_withdrawn=True)


def facts_of(newest: Round) -> dict[str, object]:
    return {
        "checks": newest.judged_checks,
        "failures": newest.judged_failures,
        "p95_ms": newest.judged_p95_ms,
        "failing": newest.judged_failing,
    }


def judge_ourselves(is_online: bool | None, now: Mark) -> None:
    """`is_online` is None where nobody can tell: then it stays as it was."""
    if is_online is False:
        open_all([Opening(PORTAL, Rule.OFFLINE)], now)
    elif is_online:
        resolve(list(Incident.objects.open().filter(subject=PORTAL)), now)
