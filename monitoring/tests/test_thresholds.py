"""When something is an incident: tables of facts and verdicts."""

from datetime import UTC, datetime, timedelta

import pytest

from monitoring.checks.thresholds import (
    FleetLimits,
    derive_state,
    evaluate_fleet,
    evaluate_result,
    should_retry,
    update_streaks,
)
from monitoring.models import Incident, Round, Target
from monitoring.probe.http import ProbeOutcome
from monitoring.tests.conftest import REFUSED, good_outcome

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
Rule, State = Incident.Rule, Target.State


def judged(outcomes, **fields):
    target = Target(failures_to_open=3, successes_to_close=2, tls_expiry_days=14, **fields)
    for outcome in outcomes:
        update_streaks(target, outcome)
    return target, evaluate_result(target, outcomes[-1] if outcomes else good_outcome(), NOON)


def outcomes(word, slow_ms=2000):
    """`f` is a failure, `s` a slow answer, `o` a good one."""
    return [{"f": REFUSED, "s": good_outcome(slow_ms), "o": good_outcome(100)}[letter] for letter in word]


@pytest.mark.parametrize(
    ("found", "is_broken", "is_held"),
    [
        ("", False, False),
        ("f", False, False),
        ("ff", False, False),
        ("fff", True, False),
        ("ffff", True, False),
        ("ffof", False, False),
        ("fffo", False, False),
        ("fffoo", False, True),
        ("fffofoo", False, True),
        ("fffofo", False, False),
        ("o", False, False),
        ("oo", False, True),
        ("ssf", False, False),
        ("fss", False, True),
    ],
)
def test_failure_streak_opens_and_success_streak_resolves(found, is_broken, is_held):
    _target, verdict = judged(outcomes(found), max_latency_ms=1000)
    assert (Rule.UNAVAILABLE in verdict.broken, Rule.UNAVAILABLE in verdict.satisfied) == (is_broken, is_held)


@pytest.mark.parametrize(
    ("found", "is_broken", "is_held"),
    [
        ("ss", False, False),
        ("sss", True, False),
        ("sssf", False, False),  # a failure tells nothing of speed
        ("ssfs", True, False),
        ("ssos", False, False),
        ("ssso", False, False),
        ("sssoo", False, True),
        ("fff", False, False),
    ],
)
def test_slow_streak_opens_and_fast_streak_resolves(found, is_broken, is_held):
    _target, verdict = judged(outcomes(found), max_latency_ms=1000)
    assert (Rule.SLOW in verdict.broken, Rule.SLOW in verdict.satisfied) == (is_broken, is_held)


def test_latency_at_the_limit_is_not_slow():
    _target, verdict = judged(outcomes("sss", slow_ms=1000), max_latency_ms=1000)
    assert Rule.SLOW not in verdict.broken


def test_without_a_limit_no_answer_is_slow():
    _target, verdict = judged(outcomes("ss", slow_ms=29_000), max_latency_ms=None)
    assert Rule.SLOW in verdict.satisfied


@pytest.mark.parametrize(
    ("found", "is_broken", "is_held"),
    [
        ("fofofofof", True, False),
        ("fofofofo", False, False),
        ("fofofofofo", False, False),  # a good check opens nothing
        ("ffoffof", True, False),
        ("fffffffff", False, False),  # an outage
        ("ooofffffff", False, False),
        ("fffffffoof", False, False),  # one failure after an outage
        ("fffoofffoff", True, False),
        ("ffofooofoofo", False, False),
        ("f" * 10 + "o" * 7, False, False),
        ("f" * 10 + "o" * 8, False, True),
        ("foofoooooo", False, True),
        ("oooooooo", False, True),
        ("ooooooo", False, False),  # after a pause it takes as many good checks as otherwise
    ],
)
def test_five_failures_of_ten_are_unstable_and_two_are_stable(found, is_broken, is_held):
    _target, verdict = judged(outcomes(found))
    assert (Rule.UNSTABLE in verdict.broken, Rule.UNSTABLE in verdict.satisfied) == (is_broken, is_held)


@pytest.mark.parametrize(
    ("found", "is_held"), [("fffffffoo", True), ("ooffffffoo", True), ("fofffofoo", False), ("fofffofoooo", True)]
)
def test_outage_resolves_only_if_recent_results_are_not_unstable(found, is_held):
    _target, verdict = judged(outcomes(found))
    assert (Rule.UNAVAILABLE in verdict.satisfied) == is_held


@pytest.mark.parametrize(
    ("left", "days", "is_broken"),
    [
        (timedelta(days=14), 14, False),
        (timedelta(days=14, seconds=-1), 14, True),
        (timedelta(days=-3), 14, True),
        (timedelta(days=1), None, False),
        (None, 14, False),
    ],
)
def test_certificate_rule_is_broken_within_its_days(left, days, is_broken):
    target = Target(tls_expiry_days=days, certificate_until=NOON + left if left is not None else None)
    verdict = evaluate_result(target, good_outcome(), NOON)
    assert (Rule.CERTIFICATE in verdict.broken, Rule.CERTIFICATE in verdict.satisfied) == (is_broken, not is_broken)


@pytest.mark.parametrize(
    ("attempts", "retries", "state", "outcome", "again"),
    [
        (0, 1, State.UP, REFUSED, True),
        (1, 1, State.UP, REFUSED, False),
        (0, 0, State.UP, REFUSED, False),
        (0, 1, State.FAILING, REFUSED, True),
        (0, 1, State.DOWN, REFUSED, False),
        (0, 1, State.UP, good_outcome(), False),
    ],
)
def test_failure_is_retried_unless_the_target_is_down(attempts, retries, state, outcome, again):
    assert should_retry(Target(attempts=attempts, retries=retries, state=state), outcome) is again


@pytest.mark.parametrize(
    ("failures", "successes", "rules", "state"),
    [
        (0, 0, set(), State.UNKNOWN),
        (0, 1, set(), State.UP),
        (1, 0, set(), State.FAILING),
        (3, 0, {Rule.UNAVAILABLE}, State.DOWN),
        (0, 1, {Rule.UNAVAILABLE}, State.DOWN),
        (0, 1, {Rule.SLOW}, State.SLOW),
        (1, 0, {Rule.SLOW}, State.FAILING),
        (0, 1, {Rule.CERTIFICATE}, State.UP),
    ],
)
def test_state_follows_from_streaks_and_open_incidents(failures, successes, rules, state):
    target = Target(failures_in_row=failures, successes_in_row=successes)
    assert derive_state(target, frozenset(rules)) == state


# --- The fleet -------------------------------------------------------------------------------------------------------

LIMITS = FleetLimits(error_rate=0.01, latency_ms=1000)


def rounds(*found):
    """`(checks, failures, p95)` of each, newest first."""
    return [Round(judged_checks=checks, judged_failures=failures, judged_p95_ms=p95) for checks, failures, p95 in found]


@pytest.mark.parametrize(
    ("found", "broken", "held"),
    [
        ([(100, 2, 80)], set(), set()),
        ([(100, 2, 80), (100, 2, 80)], {Rule.FLEET_ERRORS}, {Rule.FLEET_LATENCY}),
        ([(100, 1, 80), (100, 1, 80)], set(), {Rule.FLEET_ERRORS, Rule.FLEET_LATENCY}),  # 1 % is not above 1 %
        ([(100, 2, 80), (100, 0, 80)], set(), {Rule.FLEET_LATENCY}),
        ([(100, 0, 80), (100, 2, 80)], set(), {Rule.FLEET_LATENCY}),
        ([(100, 0, 1000.1), (100, 0, 1000.1)], {Rule.FLEET_LATENCY}, {Rule.FLEET_ERRORS}),
        ([(100, 0, 1000), (100, 0, 1000.1)], set(), {Rule.FLEET_ERRORS}),
        ([(3, 3, None), (3, 3, None)], {Rule.FLEET_ERRORS}, {Rule.FLEET_LATENCY}),
        ([(0, 0, None), (100, 2, 80), (100, 2, 80)], {Rule.FLEET_ERRORS}, {Rule.FLEET_LATENCY}),  # one says nothing
    ],
)
def test_two_rounds_in_a_row_decide_the_fleet_rule(found, broken, held):
    verdict = evaluate_fleet(rounds(*found), LIMITS)
    assert (set(verdict.broken), set(verdict.satisfied)) == (broken, held)


def test_failed_check_does_not_decide_the_certificate_rule():
    target = Target(tls_expiry_days=14, certificate_until=NOON)
    assert Rule.CERTIFICATE not in evaluate_result(target, REFUSED, NOON).broken


def test_failed_check_with_a_latency_is_refused_by_the_database():
    assert ProbeOutcome("timeout", "body").latency_ms is None
