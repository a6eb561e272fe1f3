"""Whether a programme may go."""

from decimal import Decimal

import pytest

from beta.models import BetaProgramme
from beta.report.verdict import GO, INSUFFICIENT_DATA, NO_GO, Figures, decide_verdict, evaluate_conditions

GOOD = {"participants": 5, "score_sum": 40, "scores": 5}
MEASURED = {"checks": 1000, "failures": 0, "mean_ms": 131.5}


def judged(**figures):
    found = evaluate_conditions(Figures(**GOOD | figures), BetaProgramme())
    return decide_verdict(found), {condition["name"]: condition for condition in found}


@pytest.mark.parametrize(("participants", "expected"), [(1, NO_GO), (4, NO_GO), (5, GO), (6, GO)])
def test_too_few_participants_are_a_no_go(participants, expected):
    told, found = judged(participants=participants)
    assert told == expected
    assert found["participants"] == {
        "name": "participants",
        "value": participants,
        "target": 5,
        "ok": participants >= 5,
    }


@pytest.mark.parametrize(
    ("score_sum", "scores", "shown", "expected"),
    [
        (69, 10, 6.9, NO_GO),
        (70, 10, 7.0, GO),
        (6_999, 1_000, 6.99, NO_GO),
        (6_996, 1_000, 6.99, NO_GO),
        (7_001, 1_000, 7.0, GO),
        (71, 10, 7.1, GO),
        (0, 1, 0.0, NO_GO),
    ],
)
def test_average_score_is_never_rounded_up_to_its_target(score_sum, scores, shown, expected):
    told, found = judged(score_sum=score_sum, scores=scores)
    assert (told, found["score"]["value"]) == (expected, shown)


def test_no_feedback_is_insufficient_data_whatever_else_failed():
    told, found = judged(participants=0, score_sum=0, scores=0, checks=10, failures=10)
    assert (told, found["participants"]["ok"], found["error_rate"]["ok"]) == (INSUFFICIENT_DATA, False, False)


def test_no_score_is_an_unknown_condition():
    told, found = judged(score_sum=0, scores=0)
    assert told == INSUFFICIENT_DATA
    assert (found["score"]["value"], found["score"]["ok"]) == (None, None)


@pytest.mark.parametrize(("grave_bugs", "expected"), [(0, GO), (1, NO_GO)])
def test_open_grave_bug_is_a_no_go(grave_bugs, expected):
    told, found = judged(grave_bugs=grave_bugs)
    assert (told, found["critical_bugs"]["ok"]) == (expected, grave_bugs == 0)


def test_programme_without_targets_has_no_performance_conditions():
    told, found = judged()
    assert (told, list(found)) == (GO, ["participants", "score", "critical_bugs"])


def test_targets_without_checks_are_insufficient_data():
    told, found = judged(checks=0)
    assert told == INSUFFICIENT_DATA
    assert [found[name]["value"] for name in ("latency", "error_rate")] == [None, None]
    assert [found[name]["ok"] for name in ("latency", "error_rate")] == [None, None]


def test_failed_condition_is_a_no_go_even_if_others_are_unknown():
    assert judged(checks=0, grave_bugs=1)[0] == NO_GO


@pytest.mark.parametrize(
    ("mean_ms", "shown", "expected"),
    [(500.0, 500.0, NO_GO), (500.04, 500.0, NO_GO), (131.5, 131.5, GO), (499.99, 499.9, GO), (0.1 + 0.2, 0.3, GO)],
)
def test_mean_latency_below_its_limit_is_never_rounded_up_to_it(mean_ms, shown, expected):
    told, found = judged(**MEASURED | {"mean_ms": mean_ms})
    assert (told, found["latency"]["value"], found["latency"]["target"]) == (expected, shown, 500)


@pytest.mark.parametrize(
    ("failures", "checks", "shown", "expected"),
    [
        (10, 1_000, 0.01, NO_GO),
        (11, 1_000, 0.011, NO_GO),
        (9, 1_000, 0.009, GO),
        (9_999, 1_000_000, 0.0099, GO),
        (10_001, 1_000_000, 0.01, NO_GO),
        (1, 1_000_000, 0.0001, GO),
        (0, 1, 0.0, GO),
    ],
)
def test_error_rate_is_never_rounded_up_to_its_limit_or_down_to_zero(failures, checks, shown, expected):
    told, found = judged(**MEASURED | {"failures": failures, "checks": checks})
    assert (told, found["error_rate"]["value"], found["error_rate"]["target"]) == (expected, shown, 0.01)


def test_only_failed_checks_are_a_no_go_without_latency():
    told, found = judged(checks=10, failures=10)
    assert (told, found["latency"]["ok"], found["error_rate"]["ok"]) == (NO_GO, None, False)


def test_thresholds_come_from_the_programme():
    programme = BetaProgramme(
        participants_target=2, score_target=Decimal("8.25"), latency_target_ms=50, error_percent_target=Decimal("0.05")
    )
    found = evaluate_conditions(Figures(**GOOD | MEASURED), programme)
    assert [condition["target"] for condition in found] == [2, 8.25, 0, 50, 0.0005]
    assert decide_verdict(found) == NO_GO
