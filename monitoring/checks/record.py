"""Record finished checks: results, states of targets, incidents and their messages, in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from django.db import transaction

from monitoring.alerts import maintenance
from monitoring.alerts.incidents import IncidentOpening, is_muted, note_error_change, open_incidents, resolve_incidents
from monitoring.checks import pacing, thresholds
from monitoring.clock import Mark
from monitoring.models import CheckResult, Exclusion, Incident, Target
from monitoring.probe.http import ProbeOutcome

Rule = Incident.Rule
LoadScope = Callable[[], maintenance.MaintenanceScope]
RETRY_PAUSE = timedelta(seconds=2)
UNCLAIMED = {"claim": "", "claimed_at": None, "claimed_until": None}
RECORDED_FIELDS = (
    "state", "state_since", "next_check_at", "claim", "claimed_at", "claimed_until", "attempts", "failures_in_row",
    "successes_in_row", "slow_in_row", "fast_in_row", "recent", "last_check_at", "last_latency_ms", "last_error_kind",
    "last_detail", "certificate_until",
)  # fmt: skip


@dataclass(frozen=True)
class FinishedCheck:
    """The outcome of a probe, with its target as it was claimed. If `is_offline`, our own network may have failed."""

    target: Target
    outcome: ProbeOutcome
    at: datetime
    is_offline: bool = False


@dataclass
class RecordedCheck:
    """A target's row after a check, and what follows from it. `result` is None if the check is retried."""

    target: Target
    result: CheckResult | None = None
    verdicts: thresholds.RuleVerdicts = field(default_factory=thresholds.RuleVerdicts)
    error_changed: bool = False


def record_checks(checks: Sequence[FinishedCheck], now: Mark) -> list[CheckResult]:
    """Record the checks and return their results in the same order, without those that are retried.

    Checks whose claim was lost are discarded: the target was changed or paused, or the claim expired. No target has two
    checks here. The number of queries does not depend on the number of checks, but on the incidents that open or close.
    """
    with transaction.atomic():
        rows = Target.objects.select_for_update().filter(pk__in=[check.target.pk for check in checks])
        targets = {row.pk: row for row in rows.order_by("pk")}
        claimed = [check for check in checks if is_claim_held(targets.get(check.target.pk), check)]
        load_scope = cache(lambda: maintenance.active_maintenance(now.at))  # read for failures and openings only
        recorded = [
            apply_check(targets[check.target.pk], check, find_exclusion(check, load_scope), now.at) for check in claimed
        ]
        results = [check.result for check in recorded if check.result is not None]
        CheckResult.objects.bulk_create(results)
        update_incidents(recorded, load_scope, now)
        save_targets([check.target for check in recorded])
    return results


def is_claim_held(row: Target | None, check: FinishedCheck) -> bool:
    return row is not None and row.claim == check.target.claim != ""


def find_exclusion(check: FinishedCheck, load_scope: LoadScope) -> str:
    if check.outcome.is_ok:
        return ""
    if load_scope().includes(check.target.pk):
        return Exclusion.MAINTENANCE
    return Exclusion.OFFLINE if check.is_offline else ""


def apply_check(target: Target, check: FinishedCheck, excuse: str, now: datetime) -> RecordedCheck:
    """Update the target's row except for its state, which depends on its incidents."""
    outcome = check.outcome
    for name, value in UNCLAIMED.items():
        setattr(target, name, value)
    if not excuse and thresholds.should_retry(target, outcome):
        target.attempts += 1
        target.last_error_kind, target.last_detail = outcome.error_kind, outcome.detail
        target.next_check_at = now + RETRY_PAUSE
        return RecordedCheck(target)
    result = build_result(target, check, excuse)
    error_changed = bool(target.last_error_kind) and outcome.error_kind not in ("", target.last_error_kind)
    if excuse == Exclusion.MAINTENANCE or thresholds.is_after_gap(target, check.at):
        target.recent = ""
    target.attempts = 0
    target.next_check_at = pacing.next_due(target.pk, target.interval, now)
    target.last_check_at, target.last_latency_ms = check.at, outcome.latency_ms
    target.last_error_kind, target.last_detail = outcome.error_kind, outcome.detail
    if outcome.is_ok or outcome.certificate_until is not None:
        target.certificate_until = outcome.certificate_until
    if excuse:
        return RecordedCheck(target, result)
    thresholds.update_streaks(target, outcome)
    return RecordedCheck(target, result, thresholds.evaluate_result(target, outcome, check.at), error_changed)


def build_result(target: Target, check: FinishedCheck, excuse: str) -> CheckResult:
    """Build the result. The target's row must not be updated yet: the error of the attempt before is read from it."""
    outcome = check.outcome
    is_retried = outcome.is_ok and target.attempts > 0
    return CheckResult(
        target=target,
        at=check.at,
        error_kind=outcome.error_kind,
        detail=target.last_detail if is_retried else outcome.detail,
        status=outcome.status,
        latency_ms=outcome.latency_ms,
        retried=target.attempts if is_retried else 0,
        retried_kind=target.last_error_kind if is_retried else "",
        excuse=excuse,
    )


def update_incidents(checks: Sequence[RecordedCheck], load_scope: LoadScope, now: Mark) -> None:
    """Open and close the incidents that the checks decide, and update the state of each target."""
    known = incidents_by_rule([check.target.pk for check in checks])
    openings: list[IncidentOpening] = []
    closings: list[Incident] = []
    withdrawals: list[Incident] = []
    for check in checks:
        incidents = known.get(check.target.pk, {})
        broken = thresholds.rules_to_open(check.target, check.verdicts.broken, frozenset(incidents))
        over = [incidents[rule] for rule in check.verdicts.satisfied if rule in incidents]
        openings += [build_opening(check.target, rule, load_scope, now.at) for rule in sorted(broken)]
        for incident in over:
            (closings if thresholds.is_rule_configured(check.target, incident.rule) else withdrawals).append(incident)
        if check.error_changed and Rule.UNAVAILABLE in incidents:
            target = check.target
            note_error_change(incidents[Rule.UNAVAILABLE], target.last_error_kind, target.last_detail, now.at)
        rules = (incidents.keys() | broken) - {incident.rule for incident in over}
        update_state(check.target, frozenset(rules), now.at)
    open_incidents(openings, now)
    resolve_incidents(closings, now)
    resolve_incidents(withdrawals, now, is_withdrawn=True)


def incidents_by_rule(targets: Sequence[int]) -> dict[int, dict[str, Incident]]:
    """Return the open incidents of each target by their rule."""
    found: dict[int, dict[str, Incident]] = {}
    for incident in Incident.objects.open().filter(target__in=targets).select_related("target"):
        found.setdefault(incident.target_id or 0, {})[incident.rule] = incident
    return found


def update_state(target: Target, open_rules: frozenset[str], now: datetime) -> None:
    state = thresholds.derive_state(target, open_rules)
    if state != target.state:
        target.state, target.state_since = state, now


def build_opening(target: Target, rule: str, load_scope: LoadScope, now: datetime) -> IncidentOpening:
    facts: dict[str, object] = {}
    kind, detail = "", ""
    if rule in (Rule.UNAVAILABLE, Rule.UNSTABLE):
        kind, detail = target.last_error_kind, target.last_detail
    if rule == Rule.UNSTABLE:
        facts = {"failures": target.recent.count(thresholds.FAILED), "checks": len(target.recent)}
    elif rule == Rule.SLOW:
        facts = {"latency_ms": target.last_latency_ms, "limit_ms": target.max_latency_ms}
    elif rule == Rule.CERTIFICATE and target.certificate_until is not None:
        facts = {"until": target.certificate_until.isoformat()}
    return IncidentOpening(target.subject, rule, target, kind, detail, facts, is_muted(target, load_scope(), now))


def save_targets(targets: Sequence[Target]) -> None:
    """Save RECORDED_FIELDS in one statement. The rows are locked, so none of them can have been deleted."""
    Target.objects.bulk_create(targets, update_conflicts=True, unique_fields=["pk"], update_fields=RECORDED_FIELDS)
