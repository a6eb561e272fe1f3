"""Incidents that rounds decide: those of all targets together, of ad-hoc watches, and of the portal itself."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from monitoring.alerts import maintenance
from monitoring.alerts.incidents import IncidentOpening, open_incidents, resolve_incidents
from monitoring.checks.connectivity import Connectivity
from monitoring.checks.thresholds import FleetLimits, evaluate_fleet
from monitoring.clock import Mark
from monitoring.models import Incident, Round, Target
from monitoring.probe.kinds import ErrorKind

Rule = Incident.Rule
FLEET, PORTAL = "fleet", "portal"
# Prefix of the subjects of ad-hoc watches, and how long one counts as alive after its last renewal.
AD_HOC_PREFIX = "fleet:"
WATCH_LEASE = timedelta(minutes=1)


def update_fleet_incidents(
    subject: str, rounds: Sequence[Round], now: Mark, *, watched_until: datetime | None = None
) -> list[Incident]:
    """Open and close the fleet's incidents by the newest rounds, newest first. Return the incidents opened.

    `watched_until` is the end of the lease of an ad-hoc watch.
    """
    limits = FleetLimits(settings.FLEET_ERROR_PERCENT / 100, settings.FLEET_LATENCY_ALERT_MS)
    verdicts = evaluate_fleet(rounds, limits)
    known = {incident.rule: incident for incident in Incident.objects.open().filter(subject=subject)}
    resolve_incidents([known[rule] for rule in sorted(verdicts.satisfied) if rule in known], now)
    is_muted = bool(verdicts.broken) and maintenance.active_maintenance(now.at).everything
    facts = fleet_facts(rounds[0])
    openings = [
        IncidentOpening(subject, rule, facts=facts, is_muted=is_muted, watched_until=watched_until)
        for rule in sorted(verdicts.broken)
    ]
    return open_incidents(openings, now)


def renew_watch_lease(subject: str, now: Mark) -> None:
    Incident.objects.open().filter(subject=subject).update(watched_until=now.at + WATCH_LEASE)


def withdraw_watch_incidents(subject: str, now: Mark) -> None:
    """Withdraw the open incidents of an ad-hoc watch that ends."""
    resolve_incidents(list(Incident.objects.open().filter(subject=subject)), now, is_withdrawn=True)


def withdraw_orphaned_incidents(now: Mark) -> int:
    """Withdraw incidents that no round decides any more, and return their number.

    These are the fleet's if no target is active, the portal's if nothing probes its connectivity, and those of ad-hoc
    watches that were killed.
    """
    orphaned = Q(subject__startswith=AD_HOC_PREFIX) & ~Q(watched_until__gte=now.at)
    if not Target.objects.active().exists():
        orphaned |= Q(subject=FLEET)
    if not settings.CONNECTIVITY_PROBES:
        orphaned |= Q(subject=PORTAL)
    return resolve_incidents(list(Incident.objects.open().filter(orphaned)), now, is_withdrawn=True)


def fleet_facts(newest: Round) -> dict[str, object]:
    return {
        "checks": newest.judged_checks,
        "failures": newest.judged_failures,
        "p95_ms": newest.judged_p95_ms,
        "failing": newest.judged_failing,
    }


def update_portal_incident(connectivity: Connectivity, now: Mark, *, lookups_fail: bool) -> None:
    """Open or close the incident of the portal itself. It stays as it is if its connectivity is unknown."""
    is_online = connectivity.status()
    if is_online is False or lookups_fail:
        kind = ErrorKind.DNS if is_online else ""
        open_incidents([IncidentOpening(PORTAL, Rule.OFFLINE, error_kind=kind)], now)
    elif is_online:
        over = Incident.objects.open().filter(subject=PORTAL)
        if connectivity.resolves is False:  # the incident of the resolver goes on
            over = over.exclude(error_kind=ErrorKind.DNS)
        resolve_incidents(list(over), now)
