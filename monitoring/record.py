"""Writing down what checks found: results, how targets stand, incidents and their messages, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from django.db import transaction

from monitoring import maintenance, pace, thresholds
from monitoring.clock import Mark
from monitoring.incidents import IncidentOpening, is_muted, note_error_change, open_incidents, resolve_incidents
from monitoring.models import CheckResult, Exclusion, Incident, Target
from monitoring.probe.http import ProbeOutcome

Rule = Incident.Rule
Covering = Callable[[], maintenance.Covered]
RETRY_PAUSE = timedelta(seconds=2)
UNCLAIMED = {"claim": "", "claimed_at": None, "claimed_until": None}
RECORDED_FIELDS = (
    "state", "state_since", "next_check_at", "claim", "claimed_at", "claimed_until", "attempts", "failures_in_row",
    "successes_in_row", "slow_in_row", "fast_in_row", "recent", "last_check_at", "last_latency_ms", "last_error_kind",
    "last_detail", "certificate_until",
)  # fmt: skip


@dataclass(frozen=True)
class FinishedCheck:
    """What a probe found, of the target as it was claimed. `is_offline`: the failure may be ours."""

    target: Target
    outcome: ProbeOutcome
    at: datetime
    is_offline: bool = False


@dataclass
class RecordedCheck:
    """A target's row after a result, and what follows from it. No result where the check is tried again."""

    target: Target
    result: CheckResult | None = None
    verdicts: thresholds.RuleVerdicts = field(default_factory=thresholds.RuleVerdicts)
    error_changed: bool = False


def record_checks(batch: Sequence[FinishedCheck], now: Mark) -> list[CheckResult]:
    """Writes the batch down; the results that count, in its order. What was found under a claim that is no more ours,
    because the target was changed or paused or the claim ran out, is dropped.

    Two checks of one target are never in a batch. The number of queries does not depend on its size, incidents aside.
    """
    with transaction.atomic():
        rows = Target.objects.select_for_update().filter(pk__in=[checked.target.pk for checked in batch])
        held = {row.pk: row for row in rows.order_by("pk")}
        mine = [(held[one.target.pk], one) for one in batch if is_claim_held(held.get(one.target.pk), one)]
        covered = cache(lambda: maintenance.covering(now.at))  # asked for by failures and openings alone
        settled = [apply_check(row, one, find_exclusion(one, covered), now.at) for row, one in mine]
        results = [one.result for one in settled if one.result is not None]
        CheckResult.objects.bulk_create(results)
        update_incidents(settled, covered, now)
        save_targets([one.target for one in settled])
    return results


def is_claim_held(row: Target | None, checked: FinishedCheck) -> bool:
    return row is not None and row.claim == checked.target.claim != ""


def find_exclusion(checked: FinishedCheck, covered: Covering) -> str:
    if checked.outcome.is_ok:
        return ""
    if covered().includes(checked.target.pk):
        return Exclusion.MAINTENANCE
    return Exclusion.OFFLINE if checked.is_offline else ""


def apply_check(target: Target, checked: FinishedCheck, excuse: str, now: datetime) -> RecordedCheck:
    """Brings the row up to date, short of its state."""
    outcome = checked.outcome
    for name, value in UNCLAIMED.items():
        setattr(target, name, value)
    if not excuse and thresholds.should_retry(target, outcome):
        target.attempts += 1
        target.last_error_kind, target.last_detail = outcome.error_kind, outcome.detail
        target.next_check_at = now + RETRY_PAUSE
        return RecordedCheck(target)
    result = build_result(target, checked, excuse)
    error_changed = bool(target.last_error_kind) and outcome.error_kind not in ("", target.last_error_kind)
    if excuse == Exclusion.MAINTENANCE or thresholds.is_after_gap(target, checked.at):
        target.recent = ""
    target.attempts = 0
    target.next_check_at = pace.next_due(target.pk, target.interval, now)
    target.last_check_at, target.last_latency_ms = checked.at, outcome.latency_ms
    target.last_error_kind, target.last_detail = outcome.error_kind, outcome.detail
    if outcome.is_ok or outcome.certificate_until is not None:
        target.certificate_until = outcome.certificate_until
    if excuse:
        return RecordedCheck(target, result)
    thresholds.update_streaks(target, outcome)
    return RecordedCheck(target, result, thresholds.evaluate_result(target, outcome, checked.at), error_changed)


def build_result(target: Target, checked: FinishedCheck, excuse: str) -> CheckResult:
    """The result, of a target whose row still stands as the attempt before left it."""
    outcome = checked.outcome
    is_retried = outcome.is_ok and target.attempts > 0
    return CheckResult(
        target=target,
        at=checked.at,
        error_kind=outcome.error_kind,
        detail=target.last_detail if is_retried else outcome.detail,
        status=outcome.status,
        latency_ms=outcome.latency_ms,
        retried=target.attempts if is_retried else 0,
        retried_kind=target.last_error_kind if is_retried else "",
        excuse=excuse,
    )


def update_incidents(settled: Sequence[RecordedCheck], covered: Covering, now: Mark) -> None:
    """Opens and closes incidents, and says how each target stands."""
    open_now = incidents_by_rule([one.target.pk for one in settled])
    openings: list[IncidentOpening] = []
    closings: list[Incident] = []
    withdrawals: list[Incident] = []
    for one in settled:
        known = open_now.get(one.target.pk, {})
        broken = thresholds.rules_to_open(one.target, one.verdicts.broken, frozenset(known))
        held = [known[rule] for rule in one.verdicts.held if rule in known]
        openings += [build_opening(one.target, rule, covered, now.at) for rule in sorted(broken)]
        for incident in held:
            (closings if thresholds.is_rule_set(one.target, incident.rule) else withdrawals).append(incident)
        if one.error_changed and Rule.UNAVAILABLE in known:
            note_error_change(known[Rule.UNAVAILABLE], one.target.last_error_kind, one.target.last_detail, now.at)
        rules = (known.keys() | broken) - {incident.rule for incident in held}
        update_state(one, frozenset(rules), now.at)
    open_incidents(openings, now)
    resolve_incidents(closings, now)
    resolve_incidents(withdrawals, now, is_withdrawn=True)


def incidents_by_rule(targets: Sequence[int]) -> dict[int, dict[str, Incident]]:
    found: dict[int, dict[str, Incident]] = {}
    for incident in Incident.objects.open().filter(target__in=targets).select_related("target"):
        found.setdefault(incident.target_id or 0, {})[incident.rule] = incident
    return found


def update_state(one: RecordedCheck, open_rules: frozenset[str], now: datetime) -> None:
    state = thresholds.derive_state(one.target, open_rules)
    if state != one.target.state:
        one.target.state, one.target.state_since = state, now


def build_opening(target: Target, rule: str, covered: Covering, now: datetime) -> IncidentOpening:
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
    return IncidentOpening(target.subject, rule, target, kind, detail, facts, is_muted(target, covered(), now))


def save_targets(targets: Sequence[Target]) -> None:
    """How they stand, in one statement. The rows are locked, so that none of them can have gone meanwhile."""
    Target.objects.bulk_create(targets, update_conflicts=True, unique_fields=["pk"], update_fields=RECORDED_FIELDS)
