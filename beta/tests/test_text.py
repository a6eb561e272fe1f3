"""The report as text: what it says, and that nothing somebody said disturbs it."""

from datetime import timedelta
from unicodedata import category

import pytest
from django.utils import translation

from beta.formats import render_report, text
from beta.models import BetaSnapshot
from beta.report.gather import build_report
from beta.report.snapshots import take_snapshot
from beta.tests.factories import create_feedback, create_programme, create_scores, create_target
from beta.tests.helpers import hostile_texts
from monitoring.terminal.text_table import WIDTH, display_width, format_table, wrap_text
from monitoring.tests.factories import NOON, create_rollup

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("content of a text")]


@pytest.fixture
def programme():
    return create_programme(product="GUI v6")


def lines(programme, now=NOON):
    found = render_report(build_report(programme, now), "txt").decode()
    assert found.endswith("\n")
    return found.splitlines()


def cells(shown, name):
    """What stands beside the name, in each line that begins with it."""
    return [line.removeprefix(name).split() for line in shown if line.startswith(name)]


def comments(programme, *said_of_it):
    for place, comment in enumerate(said_of_it):
        create_feedback(programme, type="ux", comment=comment, given_at=NOON - timedelta(minutes=place))
    shown = lines(programme)
    return shown[shown.index("Latest usability comments") + 1 :]


# --- What it says ----------------------------------------------------------------------------------------------------


def test_text_begins_with_the_programme_and_its_verdict(programme):
    assert lines(programme)[:5] == [
        "Beta programme spring-beta (GUI v6)",
        "since 2 March 2026, as of 2026-03-10 12:00:00 UTC",
        "",
        "Verdict: Not enough data",
        "No feedback yet.",
    ]


def test_each_condition_has_outcome_value_and_target(programme):
    target = create_target(beta_programme=programme)
    create_rollup(target, "day", NOON.replace(hour=0), checks=10_000, failures=7, latency_ms=131.5)
    create_scores(programme, 9, 8, 7, 7, 6)
    shown = lines(programme)
    assert cells(shown, "criterion") == [["result", "value", "required"]]
    assert cells(shown, "Participants")[0] == ["met", "5", "at", "least", "5"]
    assert cells(shown, "Average score")[0] == ["met", "7.40", "at", "least", "7.00"]
    assert cells(shown, "Open critical and high bugs")[0] == ["met", "0", "none"]
    assert cells(shown, "Average response time")[0] == ["met", "131.5", "ms", "below", "500.0", "ms"]
    assert cells(shown, "Error rate")[0] == ["met", "0.07", "%", "below", "1.00", "%"]


def test_figures_have_their_changes_since_the_previous_report(programme):
    create_scores(programme, 9, 9)
    take_snapshot(programme, NOON, BetaSnapshot.Reason.COMMAND)
    create_scores(programme, 6)
    shown = lines(programme, NOON + timedelta(days=1))
    assert cells(shown, "Participants")[1] == ["3", "+1"]
    assert cells(shown, "Average score")[1] == ["8.00", "−1.00"]
    assert cells(shown, "Promoters (9 and 10)") == [["2"]]
    assert "Compared with the report of 2026-03-10 12:00:00 UTC (NO-GO)." in shown


def test_first_report_mentions_no_changes(programme):
    assert not any(line.startswith("Compared with") for line in lines(programme))


def test_bugs_are_listed_with_their_details(programme):
    known = {"page": "/scoring", "app_version": "6.0.3", "comment": "It stops."}
    bug = create_feedback(programme, type="bug", severity="critical", **known)
    other = create_feedback(programme, type="bug", severity="high", status="planned", comment="It is slow.")
    shown = lines(programme)
    place = shown.index("Open critical and high bugs")
    assert shown[place + 1 : place + 5] == [
        f"#{bug.pk}, critical, open, 2026-03-10 12:00:00 UTC, 6.0.3, /scoring",
        "    It stops.",
        f"#{other.pk}, high, planned, 2026-03-10 12:00:00 UTC",
        "    It is slow.",
    ]


def test_bugs_beyond_the_listed_ones_are_counted(programme):
    for _ in range(23):
        create_feedback(programme, type="bug", severity="high", comment="It stops.")
    assert "and 3 more" in lines(programme)


def test_missing_bugs_and_comments_are_stated(programme):
    assert lines(programme)[-3:] == ["No open critical or high bugs.", "", "No usability comments."]


def test_comments_are_numbered_paragraphs(programme):
    assert comments(programme, "Fine.", "one\ntwo  three " + "word " * 30)[:3] == [
        " 1. Fine.",
        " 2. one two three" + " word" * 15,
        "    word" + " word" * 14,
    ]


def test_text_is_in_the_active_language(programme):
    create_scores(programme, 7)
    with translation.override("fr"):
        assert "7,00" in "\n".join(lines(programme))
        assert not any(line.startswith("Verdict: ") for line in lines(programme))


# --- Hostile texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comment", hostile_texts.ALL, ids=lambda comment: ascii(comment[:12]))
@pytest.mark.parametrize("language", ["en", "fr"])
def test_hostile_texts_stay_within_the_width_and_leave_no_control_characters(programme, comment, language):
    programme.name, programme.product = f"{comment[:50]}{comment[-50:]}", comment[:100]
    create_feedback(programme, type="ux", comment=comment)
    create_feedback(
        programme, type="bug", severity="high", comment=comment, page=comment[:200], app_version=comment[:64]
    )
    with translation.override(language):
        shown = lines(programme)
    assert all(display_width(line) <= WIDTH for line in shown)
    assert not {category(character) for line in shown for character in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not set("".join(shown)) & set(hostile_texts.OVERRIDES)


def test_comment_above_a_thousand_characters_is_shortened_with_a_remark(programme):
    shown = " ".join(line.strip() for line in comments(programme, "word " * 400 + "the end"))
    assert shown.endswith(" word … (2,007 characters in total)")
    assert shown.count("word") == 200


def test_comment_of_a_thousand_characters_is_printed_whole(programme):
    assert "".join(line.strip() for line in comments(programme, "x" * 1_000)) == "1. " + "x" * 1_000


def test_comment_without_blanks_is_broken_and_not_shortened(programme):
    assert (
        "".join(line[4:] for line in comments(programme, hostile_texts.WITHOUT_BLANKS)) == hostile_texts.WITHOUT_BLANKS
    )


def test_comment_of_invisible_characters_keeps_its_number(programme):
    assert comments(programme, "\u202e\u2066", "Fine.") == [" 1.", " 2. Fine."]


def test_stacked_combining_marks_are_limited_to_four(programme):
    tower, cut = "x" + "\u0301" * 500, "x" + "\u0301" * 4
    create_feedback(programme, type="bug", severity="high", comment=tower, page=tower[:200], app_version=tower[:64])
    assert comments(programme, f"{tower} end") == [f" 1. {cut} end"]
    shown = "\n".join(lines(programme))
    assert (shown.count(cut), "\u0301" * 5 in shown) == (4, False)


# --- Columns ---------------------------------------------------------------------------------------------------------


def test_long_word_is_broken_at_the_width_in_columns():
    assert wrap_text("ab " + "x" * 12, 5, is_whole=True) == ["ab", "xxxxx", "xxxxx", "xx"]
    assert wrap_text("日本語", 5, is_whole=True) == ["日本", "語"]
    assert wrap_text("xxxxx y", 5, is_whole=True) == ["xxxxx", "y"]


def test_table_aligns_figures_to_the_right():
    assert format_table(("name", "value"), [("one", "1"), ("twelve", "12")], right_from=1) == [
        "name          value",
        "-------------------",
        "one               1",
        "twelve           12",
    ]


def test_comment_of_exactly_the_maximum_length_has_no_remark():
    assert text.shorten_comment("x" * 1_000) == "x" * 1_000
    assert text.shorten_comment("x" * 1_001) == "x" * 1_000 + "… (1,001 characters in total)"
