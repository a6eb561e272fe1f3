"""Writing down what checks found: results, how targets stand, incidents and their messages, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from django.db import transaction

from monitoring import maintenance, pace, thresholds
from monitoring.clock import Mark
from monitoring.incidents import Opening, is_quiet, note_change, open_all, resolve
from monitoring.models import CheckResult, Excuse, Incident, Target
from monitoring.probe.http import Outcome

Rule = Incident.Rule
Covering = Callable[[], maintenance.Covered]
RETRY_PAUSE = timedelta(seconds=2)
UNCLAIMED = {"claim": "", "claimed_at": None, "claimed_until": None}
STANDING = (
    "state", "state_since", "next_check_at", "claim", "claimed_at", "claimed_until", "attempts", "failures_in_row",
    "successes_in_row", "slow_in_row", "fast_in_row", "recent", "last_check_at", "last_latency_ms", "last_error_kind",
    "last_detail", "certificate_until",
)  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """What a probe found, of the target as it was claimed. `is_offline`: the failure may be ours."""

    target: Target
    outcome: Outcome
    at: datetime
    is_offline: bool = False


@dataclass
class Settled:
    """A target's row after a result, and what follows from it. No result where the check is tried again."""

    target: Target
    result: CheckResult | None = None
    verdicts: thresholds.Verdicts = field(default_factory=thresholds.Verdicts)
    error_changed: bool = False


def record(batch: Sequence[Checked], now: Mark) -> list[CheckResult]:
    """Writes the batch down; the results that count, in its order. What was found under a claim that is no more ours,
    because the target was changed or paused or the claim ran out, is dropped.

    Two checks of one target are never in a batch. The number of queries does not depend on its size, incidents aside.
    """
    with transaction.atomic():
        rows = Target.objects.select_for_update().filter(pk__in=[checked.target.pk for checked in batch])
        held = {row.pk: row for row in rows.order_by("pk")}
        mine = [(held[one.target.pk], one) for one in batch if is_held(held.get(one.target.pk), one)]
        covered = cache(lambda: maintenance.covering(now.at))  # asked for by failures and openings alone
        settled = [settle(row, one, excuse_of(one, covered), now.at) for row, one in mine]
        results = [one.result for one in settled if one.result is not None]
        CheckResult.objects.bulk_create(results)
        follow(settled, covered, now)
        write([one.target for one in settled])
    return results


def is_held(row: Target | None, checked: Checked) -> bool:
    return row is not None and row.claim == checked.target.claim != ""


def excuse_of(checked: Checked, covered: Covering) -> str:
    if checked.outcome.is_ok:
        return ""
    if covered().includes(checked.target.pk):
        return Excuse.MAINTENANCE
    return Excuse.OFFLINE if checked.is_offline else ""


def settle(target: Target, checked: Checked, excuse: str, now: datetime) -> Settled:
    """Brings the row up to date, short of its state."""
    outcome = checked.outcome
    for name, value in UNCLAIMED.items():
        setattr(target, name, value)
    if not excuse and thresholds.is_retried(target, outcome):
        target.attempts += 1
        target.last_error_kind, target.last_detail = outcome.error_kind, outcome.detail
        target.next_check_at = now + RETRY_PAUSE
        return Settled(target)
    result = result_of(target, checked, excuse)
    error_changed = bool(target.last_error_kind) and outcome.error_kind not in ("", target.last_error_kind)
    if excuse == Excuse.MAINTENANCE or thresholds.is_after_gap(target, checked.at):
        target.recent = ""
    target.attempts = 0
    target.next_check_at = pace.next_due(target.pk, target.interval, now)
    target.last_check_at, target.last_latency_ms = checked.at, outcome.latency_ms
    target.last_error_kind, target.last_detail = outcome.error_kind, outcome.detail
    if outcome.is_ok or outcome.certificate_until is not None:
        target.certificate_until = outcome.certificate_until
    if excuse:
        return Settled(target, result)
    thresholds.count(target, outcome)
    return Settled(target, result, thresholds.verdicts(target, outcome, checked.at), error_changed)


def result_of(target: Target, checked: Checked, excuse: str) -> CheckResult:
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


def follow(settled: Sequence[Settled], covered: Covering, now: Mark) -> None:
    """Opens and closes incidents, and says how each target stands."""
    open_now = open_incidents([one.target.pk for one in settled])
    openings: list[Opening] = []
    closings: list[Incident] = []
    withdrawals: list[Incident] = []
    for one in settled:
        known = open_now.get(one.target.pk, {})
        broken = thresholds.to_open(one.target, one.verdicts.broken, frozenset(known))
        held = [known[rule] for rule in one.verdicts.held if rule in known]
        openings += [opening(one.target, rule, covered, now.at) for rule in sorted(broken)]
        for incident in held:
            (closings if thresholds.has_limit(one.target, incident.rule) else withdrawals).append(incident)
        if one.error_changed and Rule.UNAVAILABLE in known:
            note_change(known[Rule.UNAVAILABLE], one.target.last_error_kind, one.target.last_detail, now.at)
        rules = (known.keys() | broken) - {incident.rule for incident in held}
        stand(one, frozenset(rules), now.at)
    open_all(openings, now)
    resolve(closings, now)
    resolve(withdrawals, now, is_withdrawn=True)


def open_incidents(targets: Sequence[int]) -> dict[int, dict[str, Incident]]:
    found: dict[int, dict[str, Incident]] = {}
    for incident in Incident.objects.open().filter(target__in=targets).select_related("target"):
        found.setdefault(incident.target_id or 0, {})[incident.rule] = incident
    return found


def stand(one: Settled, open_rules: frozenset[str], now: datetime) -> None:
    state = thresholds.state_of(one.target, open_rules)
    if state != one.target.state:
        one.target.state, one.target.state_since = state, now


def opening(target: Target, rule: str, covered: Covering, now: datetime) -> Opening:
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
    return Opening(target.subject, rule, target, kind, detail, facts, is_quiet(target, covered(), now))


def write(targets: Sequence[Target]) -> None:
    """How they stand, in one statement. The rows are locked, so that none of them can have gone meanwhile."""
    Target.objects.bulk_create(targets, update_conflicts=True, unique_fields=["pk"], update_fields=STANDING)
