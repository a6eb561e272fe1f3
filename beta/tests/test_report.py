"""The report of a programme, from what was said and measured."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from beta.models import BetaFeedback
from beta.programmes import programme_of_target
from beta.report.gather import build_report
from beta.report.status import calculate_statuses
from beta.tests.factories import create_feedback, create_programme, create_scores, create_target
from monitoring.tests.factories import DAY, NOON, create_rollup

STARTS = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def programme(db):
    return create_programme()


def report(programme):
    return build_report(programme, NOON)


def condition(programme, name):
    return next(each for each in report(programme)["conditions"] if each["name"] == name)


# --- Participants and scores -----------------------------------------------------------------------------------------


def test_empty_programme_has_an_empty_report(programme):
    found = report(programme)
    assert found["verdict"] == "INSUFFICIENT DATA"
    assert found["participants"] == {"count": 0, "target": 5}
    assert found["score"] == {
        "average": None, "target": 7.0, "nps": None, "promoters": 0, "passives": 0, "detractors": 0, "counts": [0] * 11,
    }  # fmt: skip
    assert found["bugs"] == {"total": 0, "critical_high_open": 0}
    assert found["performance"] == {"checks": 0, "mean_ms": None, "p95_ms": None, "error_rate": None, "days": []}
    assert (found["ux_comments"], found["open_bugs"], found["trend"], found["previous"]) == ([], [], [], None)
    assert (found["programme"], found["starts"], found["ends"]) == ("spring-beta", "2026-03-02", None)
    assert found["generated_at"] == "2026-03-10T12:00:00.000Z"


def test_five_content_participants_are_a_go(programme):
    create_scores(programme, 7, 7, 7, 7, 7)
    found = report(programme)
    assert found["verdict"] == "GO"
    assert [each["name"] for each in found["conditions"]] == ["participants", "score", "critical_bugs"]


def test_participant_with_two_rows_counts_once(programme):
    create_scores(programme, 9, 9, 9)
    for score in (1, 10):
        create_feedback(programme, "carol@example.org", nps_score=score, given_at=NOON + timedelta(hours=score))
    found = report(programme)
    assert found["participants"]["count"] == 4
    assert found["score"]["counts"] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1]
    assert found["verdict"] == "NO-GO"


def test_latest_score_counts_by_its_time_and_not_by_its_receipt(programme):
    create_feedback(programme, "carol@example.org", nps_score=9, given_at=NOON)
    create_feedback(programme, "carol@example.org", nps_score=2, given_at=NOON - DAY, received_at=NOON + DAY)
    assert report(programme)["score"]["average"] == 9.0


def test_latest_received_of_simultaneous_scores_counts(programme):
    for score in (9, 3):
        create_feedback(programme, "carol@example.org", nps_score=score)
    assert report(programme)["score"]["average"] == 3.0
    assert calculate_statuses([programme])[programme.pk].figures.average == 3.0


def test_feedback_without_score_keeps_the_participants_former_score(programme):
    create_feedback(programme, "carol@example.org", nps_score=8, given_at=NOON - DAY)
    create_feedback(programme, "carol@example.org", comment="Still fine.")
    create_feedback(programme, "dave@example.org", comment="Hello.")
    found = report(programme)
    assert (found["participants"]["count"], found["score"]["average"]) == (2, 8.0)


def test_good_average_can_have_a_bad_nps(programme):
    create_scores(programme, 6, 6, 7, 8, 9, 8, 6, 8, 7, 7)
    found = report(programme)["score"]
    assert (found["average"], found["nps"]) == (7.2, -20)
    assert (found["promoters"], found["passives"], found["detractors"]) == (1, 6, 3)


def test_nps_is_that_of_the_documentations_example(programme):
    create_scores(programme, 9, 9, 10, 7, 8, 5, 6)
    found = report(programme)["score"]
    assert (found["nps"], found["promoters"], found["passives"], found["detractors"]) == (14, 3, 2, 2)


@pytest.mark.parametrize(
    ("scores", "nps"),
    [
        ([9] * 3 + [7] * 3 + [0] * 2, 13),
        ([9] * 3 + [7] * 5, 38),
        ([9] * 5 + [7] * 3, 63),
        ([9] * 2 + [7] * 3 + [0] * 3, -13),
        ([9] * 1 + [7] * 1 + [0] * 1, 0),
    ],
)
def test_net_promoter_score_of_an_exact_half_is_rounded_away_from_zero(programme, scores, nps):
    create_scores(programme, *scores)
    assert report(programme)["score"]["nps"] == calculate_statuses([programme])[programme.pk].nps == nps


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ([("client:app", 3), ("public", 10)], 3),
        ([("public", 10), ("client:app", 3)], 3),
        ([("agent:PC-1", 3), ("public", 10), ("client:app", 5), ("public", 9)], 5),
        ([("public", 10), ("public", 3)], 3),
    ],
)
def test_score_by_token_is_not_replaced_by_one_by_the_public_key(programme, given, counts):
    for hour, (source, score) in enumerate(given):
        create_feedback(
            programme, "carol@example.org", nps_score=score, source=source, given_at=NOON + timedelta(hours=hour)
        )
    found = report(programme)
    assert (found["score"]["average"], found["participants"]["count"]) == (counts, 1)
    assert [day["average"] for day in found["trend"]] == [counts]
    assert calculate_statuses([programme])[programme.pk].figures.average == counts


def test_feedback_to_other_programmes_does_not_count(programme):
    create_scores(create_programme("other"), 1, 1, 1)
    create_feedback(create_programme("third"), type="bug", severity="critical")
    assert report(programme)["participants"]["count"] == 0
    assert report(programme)["bugs"] == {"total": 0, "critical_high_open": 0}


def test_trend_has_the_scores_at_the_end_of_each_day_with_one(programme):
    create_feedback(programme, "carol@example.org", nps_score=4, given_at=NOON - 2 * DAY)
    create_feedback(programme, "dave@example.org", nps_score=9, given_at=NOON - 2 * DAY)
    create_feedback(programme, "carol@example.org", nps_score=8, given_at=NOON)
    assert report(programme)["trend"] == [
        {"day": "2026-03-08", "participants": 2, "average": 6.5, "nps": 0},
        {"day": "2026-03-10", "participants": 2, "average": 8.5, "nps": 50},
    ]


def test_trend_days_are_in_the_portals_time_zone(programme):
    create_feedback(programme, nps_score=8, given_at=datetime(2026, 3, 9, 23, 30, tzinfo=UTC))
    with timezone.override("Europe/Paris"):
        assert [day["day"] for day in report(programme)["trend"]] == ["2026-03-10"]


# --- Bugs and comments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "is_open"),
    [
        ({"severity": "critical"}, True),
        ({"severity": "high"}, True),
        ({"severity": "critical", "status": "planned"}, True),
        ({"severity": "medium"}, False),
        ({"severity": "low"}, False),
        ({"severity": ""}, False),
        ({"severity": "critical", "status": "fixed"}, False),
        ({"severity": "critical", "status": "declined"}, False),
        ({"severity": "critical", "status": "duplicate"}, False),
    ],
)
def test_unsettled_grave_bug_is_a_no_go(programme, fields, is_open):
    create_scores(programme, 8, 8, 8, 8, 8)
    bug = create_feedback(programme, type="bug", **fields)
    found = report(programme)
    assert found["bugs"] == {"total": 1, "critical_high_open": int(is_open)}
    assert found["verdict"] == ("NO-GO" if is_open else "GO")
    assert [each["id"] for each in found["open_bugs"]] == ([bug.pk] if is_open else [])


def test_grave_feedback_other_than_a_bug_is_no_condition(programme):
    create_feedback(programme, type="ux", severity="critical")
    assert report(programme)["bugs"] == {"total": 0, "critical_high_open": 0}


def test_open_bugs_are_ordered_by_gravity_then_age(programme):
    def bug(severity, hours):
        return create_feedback(programme, type="bug", severity=severity, given_at=NOON - timedelta(hours=hours)).pk

    young_high, old_high, young, old = bug("high", 1), bug("high", 9), bug("critical", 2), bug("critical", 3)
    assert [each["id"] for each in report(programme)["open_bugs"]] == [old, young, old_high, young_high]


def test_report_describes_twenty_open_bugs_and_counts_all(programme):
    for _ in range(21):
        create_feedback(programme, type="bug", severity="high", comment="x" * 2_000)
    found = report(programme)
    assert (len(found["open_bugs"]), found["bugs"]["critical_high_open"]) == (20, 21)
    assert len(found["open_bugs"][0]["comment"]) == 1_000


def test_report_has_the_five_latest_comments_on_usability(programme):
    for hour in range(7):
        create_feedback(programme, type="ux", comment=f"Comment {hour}", given_at=NOON + timedelta(hours=hour))
    create_feedback(programme, type="ux", nps_score=3, given_at=NOON + DAY)
    create_feedback(programme, type="bug", comment="It broke.", given_at=NOON + DAY)
    assert report(programme)["ux_comments"] == [f"Comment {hour}" for hour in (6, 5, 4, 3, 2)]


# --- Performance -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_performance_covers_the_programmes_targets_within_its_dates():
    programme = create_programme(ends=date(2026, 3, 4))
    target, other = create_target(beta_programme=programme), create_target()
    paused = create_target(beta_programme=programme, is_active=False)
    for day, checks in ((-1, 1_000), (0, 10), (2, 30), (3, 1_000)):
        create_rollup(target, "day", STARTS + day * DAY, checks=checks, failures=1, latency_ms=100)
    create_rollup(target, "hour", STARTS, checks=500)
    create_rollup(paused, "day", STARTS, checks=61, failures=1, latency_ms=200)
    create_rollup(other, "day", STARTS, checks=1_000, failures=500)
    create_rollup(create_target(beta_programme=create_programme("other")), "day", STARTS, checks=1_000, failures=500)
    create_rollup(target, "day", STARTS + DAY, checks=0, excused=9)
    found = report(programme)["performance"]
    assert found["checks"] == 101
    assert found["mean_ms"] == pytest.approx((38 * 100 + 60 * 200) / 98, abs=0.1)
    assert found["p95_ms"] == pytest.approx(200, rel=0.1)
    assert found["error_rate"] == 0.0297
    assert found["days"] == [
        {"day": "2026-03-02", "checks": 71, "failures": 2, "mean_ms": pytest.approx(187, abs=0.1)},
        {"day": "2026-03-04", "checks": 30, "failures": 1, "mean_ms": 100.0},
    ]


def test_targets_without_checks_are_insufficient_data(programme):
    create_scores(programme, 8, 8, 8, 8, 8)
    create_target(beta_programme=programme)
    assert report(programme)["verdict"] == "INSUFFICIENT DATA"
    assert condition(programme, "latency")["ok"] is None


def test_slow_target_is_a_no_go(programme):
    create_scores(programme, 8, 8, 8, 8, 8)
    create_rollup(create_target(beta_programme=programme), "day", STARTS, latency_ms=501)
    assert report(programme)["verdict"] == "NO-GO"
    assert condition(programme, "latency") == {"name": "latency", "value": 501.0, "target": 500, "ok": False}


def test_target_that_fails_too_often_is_a_no_go(programme):
    create_scores(programme, 8, 8, 8, 8, 8)
    create_rollup(create_target(beta_programme=programme), "day", STARTS, checks=99, failures=1)
    assert report(programme)["verdict"] == "NO-GO"


def test_retried_failures_count_in_the_error_rate(programme):
    create_scores(programme, 8, 8, 8, 8, 8)
    create_rollup(create_target(beta_programme=programme), "day", STARTS, checks=15, retried=15)
    assert report(programme)["verdict"] == "NO-GO"
    assert condition(programme, "error_rate")["value"] == 0.5
    performance = report(programme)["performance"]
    assert (performance["checks"], performance["error_rate"]) == (30, 0.5)
    assert performance["days"] == [{"day": "2026-03-02", "checks": 30, "failures": 15, "mean_ms": 100.0}]
    assert calculate_statuses([programme])[programme.pk].figures.error_rate == 0.5


def test_target_outlives_its_deleted_programme(programme):
    target = create_target(beta_programme=programme)
    programme.delete()
    target.refresh_from_db()
    assert programme_of_target(target) is None


# --- Of one moment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queries", range(1, 10))
def test_feedback_that_arrives_meanwhile_is_left_to_the_next_report(programme, queries):
    create_scores(programme, 8, 8, 8, 8, 8)
    create_rollup(create_target(beta_programme=programme), "day", STARTS)
    before, made = report(programme), []

    def ask(execute, *args):
        found = execute(*args)
        made.append(args[0])
        if len(made) == queries:
            create_feedback(programme, type="bug", severity="critical", nps_score=1, comment="It broke.")
            create_feedback(programme, type="ux", nps_score=1, comment="Too small.")
        return found

    with connection.execute_wrapper(ask):
        assert report(programme) == before
    assert report(programme)["participants"]["count"] == 7


# --- What it costs ---------------------------------------------------------------------------------------------------


def test_report_takes_ten_queries_however_much_feedback(programme, django_assert_num_queries):
    create_rollup(create_target(beta_programme=programme), "day", STARTS)
    create_scores(programme, *[8] * 30)
    for _ in range(30):
        create_feedback(programme, type="bug", severity="high", comment="It broke.")
    with django_assert_num_queries(10):
        report(programme)


def test_feedback_outlives_its_deleted_assignee(programme):
    user = User.objects.create(username="olga")
    feedback = create_feedback(programme, assignee=user)
    user.delete()
    assert BetaFeedback.objects.get(pk=feedback.pk).assignee is None
