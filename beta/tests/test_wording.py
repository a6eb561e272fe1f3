"""A report as its reader writes it."""

from datetime import date, timedelta

import pytest
from django.utils import translation

from beta.models import BetaSnapshot
from beta.report import wording
from beta.report.gather import build_report
from beta.report.snapshots import take_snapshot
from beta.tests.factories import create_feedback, create_programme, create_scores
from monitoring.tests.factories import NOON

pytestmark = pytest.mark.django_db


def condition(name, value, target, ok=True):
    return {"name": name, "value": value, "target": target, "ok": ok}


def test_conditions_have_units():
    shown = [
        condition("participants", 7, 5),
        condition("score", 7.4, 7.0),
        condition("critical_bugs", 0, 0),
        condition("latency", 131.5, 500),
        condition("error_rate", 0.0004, 0.01),
    ]
    assert [(wording.condition_value(each), wording.condition_target(each)) for each in shown] == [
        ("7", "at least 5"),
        ("7.40", "at least 7.00"),
        ("0", "none"),
        ("131.5 ms", "below 500.0 ms"),
        ("0.04 %", "below 1.00 %"),
    ]


def test_numbers_are_localized():
    with translation.override("fr"):
        assert wording.condition_value(condition("score", 7.4, 7.0)) == "7,40"


def test_unknown_value_is_not_shown_as_zero():
    assert wording.condition_value(condition("latency", None, 500, None)) == "–"


def test_reason_names_missed_or_unknown_conditions():
    programme = create_programme()
    assert wording.explain_verdict(build_report(programme, NOON)["conditions"]) == "No feedback yet."
    create_feedback(programme)
    assert wording.explain_verdict(build_report(programme, NOON)["conditions"]) == "Not met: participants."
    programme.participants_target = 1
    assert wording.explain_verdict(build_report(programme, NOON)["conditions"]) == "No data yet: average score."
    create_scores(programme, 9)
    assert wording.explain_verdict(build_report(programme, NOON)["conditions"]) == "All criteria met."


def test_period_is_formatted_by_its_days():
    assert wording.format_period(build_report(create_programme(), NOON)) == "since 2 March 2026"
    ended = create_programme("ended", ends=date(2026, 3, 20))
    assert wording.format_period(build_report(ended, NOON)) == "from 2 March 2026 to 20 March 2026"


@pytest.mark.parametrize(
    ("now", "before", "digits", "told"),
    [(8, 5, 0, "+3"), (7.0, 7.4, 2, "−0.40"), (5, 5, 0, ""), (None, 5, 0, ""), (5, None, 0, ""), (7.001, 7.0, 2, "")],
)
def test_difference_has_a_sign_and_is_empty_without_change(now, before, digits, told):
    assert wording.format_difference(now, before, digits) == told


def test_facts_have_the_change_since_the_previous_report():
    programme = create_programme()
    create_scores(programme, 9, 9)
    take_snapshot(programme, NOON - timedelta(hours=1), BetaSnapshot.Reason.COMMAND)
    create_feedback(programme, type="bug", severity="high", nps_score=0, given_at=NOON + timedelta(hours=1))
    facts = {fact.label: (fact.value, fact.change) for fact in wording.list_facts(build_report(programme, NOON))}
    assert facts["Participants"] == ("3", "+1")
    assert facts["Average score"] == ("6.00", "−3.00")
    assert facts["Net Promoter Score"] == ("+33", "−67")
    assert facts["Open critical and high bugs"] == ("1", "+1")
    assert facts["Bugs reported"] == ("1", "")
    assert facts["Average response time"] == ("–", "")


def test_error_rate_has_no_change_beside_it():
    programme = create_programme()
    take_snapshot(programme, NOON - timedelta(hours=1), BetaSnapshot.Reason.COMMAND)
    report = build_report(programme, NOON)
    report["previous"]["error_rate"], report["performance"]["error_rate"] = 0.0, 1.0
    assert wording.list_facts(report)[-1][::2] == ("Error rate", "")


def test_nps_has_a_sign_unless_it_is_zero():
    assert [wording.format_signed(value) for value in (14, -20, 0, None)] == ["+14", "−20", "0", "–"]
