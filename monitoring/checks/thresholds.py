"""Rules that open and close incidents: of one target by its streaks, of the fleet by rounds. Nothing here is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.models import Incident, Round, Target
from monitoring.probe.http import ProbeOutcome

Rule, State = Incident.Rule, Target.State
# The fleet rule needs this many rounds in a row that break it, or that satisfy it.
ROUNDS = 2
# UNSTABLE_FROM failures among its last RECENT results make a target unstable. It is stable again with at least
# RECENT - STABLE_UNTIL good ones.
RECENT, UNSTABLE_FROM, STABLE_UNTIL = 10, 5, 2
GOOD, FAILED = "0", "1"


# --- One target ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleVerdicts:
    """Rules that are `broken`, and rules that are `satisfied` again. Any other rule stays as it is."""

    broken: frozenset[str] = frozenset()
    satisfied: frozenset[str] = frozenset()


def should_retry(target: Target, outcome: ProbeOutcome) -> bool:
    """Return whether a failed attempt is retried. The failure of a target that is down is confirmed already."""
    return not outcome.is_ok and target.state != State.DOWN and target.attempts < target.retries


def update_streaks(target: Target, outcome: ProbeOutcome) -> None:
    """Update the target's success and failure streaks and its recent results. A failure is neither slow nor fast."""
    if outcome.is_ok or target.failures_in_row < target.failures_to_open:
        # Further failures in a row are an outage with an incident of its own: a target that recovers is not unstable.
        target.recent = (target.recent + (GOOD if outcome.is_ok else FAILED))[-RECENT:]
    if outcome.is_ok:
        target.successes_in_row, target.failures_in_row = target.successes_in_row + 1, 0
        if is_slow(target, outcome):
            target.slow_in_row, target.fast_in_row = target.slow_in_row + 1, 0
        else:
            target.slow_in_row, target.fast_in_row = 0, target.fast_in_row + 1
    else:
        target.successes_in_row, target.failures_in_row = 0, target.failures_in_row + 1
        if target.failures_in_row == target.failures_to_open:
            # Now it is down. Keep fewer failures of this streak than make a target unstable.
            before = target.recent.rstrip(FAILED)
            target.recent = target.recent[: len(before) + UNSTABLE_FROM - 1]


def is_after_gap(target: Target, at: datetime) -> bool:
    """Return whether the last check was so long ago that earlier results no longer count."""
    return target.last_check_at is not None and at - target.last_check_at > timedelta(seconds=RECENT * target.interval)


def is_slow(target: Target, outcome: ProbeOutcome) -> bool:
    limit, latency = target.max_latency_ms, outcome.latency_ms
    return limit is not None and latency is not None and latency > limit


def evaluate_result(target: Target, outcome: ProbeOutcome, at: datetime) -> RuleVerdicts:
    """Evaluate the rules by the updated streaks. A failed check decides neither speed nor certificate."""
    broken_by_rule = {
        Rule.UNAVAILABLE: evaluate_streaks(target, target.failures_in_row, target.successes_in_row),
        Rule.UNSTABLE: evaluate_recent(target.recent),
    }
    if broken_by_rule[Rule.UNSTABLE] and outcome.is_ok:
        # A few good results end no outage of a target that goes up and down, and open nothing.
        broken_by_rule[Rule.UNSTABLE] = None
        broken_by_rule[Rule.UNAVAILABLE] = None
    if outcome.is_ok:
        broken_by_rule[Rule.SLOW] = evaluate_streaks(target, target.slow_in_row, target.fast_in_row)
        broken_by_rule[Rule.CERTIFICATE] = certificate_ends_soon(target, at)
    return RuleVerdicts(
        frozenset(rule for rule, is_broken in broken_by_rule.items() if is_broken is True),
        frozenset(rule for rule, is_broken in broken_by_rule.items() if is_broken is False),
    )


def is_rule_configured(target: Target, rule: str) -> bool:
    """Return whether the target still sets this rule. Without its limit, an incident is withdrawn, not resolved."""
    if rule == Rule.SLOW:
        return target.max_latency_ms is not None
    if rule == Rule.CERTIFICATE:
        return target.tls_expiry_days is not None and target.certificate_until is not None
    return True


def evaluate_streaks(target: Target, bad: int, good: int) -> bool | None:
    """Return whether the rule is broken, by the length of its streaks. None if neither is long enough."""
    if bad >= target.failures_to_open:
        return True
    return False if good >= target.successes_to_close else None


def evaluate_recent(recent: str) -> bool | None:
    """Return whether the recent results are unstable. None between the two limits."""
    failures = recent.count(FAILED)
    if failures >= UNSTABLE_FROM:
        return True
    return False if len(recent) - failures >= RECENT - STABLE_UNTIL else None


def rules_to_open(target: Target, broken: frozenset[str], open_rules: frozenset[str]) -> frozenset[str]:
    """Return the rules to open incidents for.

    A target that is down or unstable has one incident for that, and a second one only if it was unstable and fails for
    good.
    """
    new = broken - open_rules
    if Rule.UNSTABLE in open_rules and target.failures_in_row < RECENT:
        return new - {Rule.UNAVAILABLE}
    return new - {Rule.UNSTABLE} if Rule.UNAVAILABLE in open_rules | new else new


def certificate_ends_soon(target: Target, at: datetime) -> bool:
    if target.tls_expiry_days is None or target.certificate_until is None:
        return False
    return target.certificate_until - at < timedelta(days=target.tls_expiry_days)


def derive_state(target: Target, open_rules: frozenset[str]) -> str:
    if Rule.UNAVAILABLE in open_rules:
        return State.DOWN
    if Rule.UNSTABLE in open_rules:
        return State.UNSTABLE
    if target.failures_in_row:
        return State.FAILING
    if Rule.SLOW in open_rules:
        return State.SLOW
    return State.UP if target.successes_in_row else State.UNKNOWN


# --- The fleet -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FleetLimits:
    """A round above either limit breaks its rule. `error_rate` is from 0 to 1."""

    error_rate: float
    latency_ms: float


def evaluate_fleet(rounds: Sequence[Round], limits: FleetLimits) -> RuleVerdicts:
    """Evaluate the newest rounds with counted checks. `rounds` are newest first; too few decide nothing."""
    newest = [each for each in rounds if each.judged_checks][:ROUNDS]
    if len(newest) < ROUNDS:
        return RuleVerdicts()
    broken_by_rule = {
        Rule.FLEET_ERRORS: [each.judged_failures / each.judged_checks > limits.error_rate for each in newest],
        Rule.FLEET_LATENCY: [(each.judged_p95_ms or 0) > limits.latency_ms for each in newest],
    }
    return RuleVerdicts(
        frozenset(rule for rule, broken in broken_by_rule.items() if all(broken)),
        frozenset(rule for rule, broken in broken_by_rule.items() if not any(broken)),
    )
