"""Active time of people, estimated from their sessions."""

from datetime import timedelta

import pytest
from django.utils import timezone

from usage.guardian.summary import build_summary, round_to_minutes
from usage.tests.factories import at, create_error, create_feature_usage, create_session

pytestmark = pytest.mark.django_db
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
START, END = at("14:00"), at("16:00")
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def times(found):
    return {user["email"]: user["total_time_minutes"] for user in found["users"]}


def minutes():
    """Return the minutes of the only person."""
    (time,) = times(build_summary(START, END)).values()
    return time


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        ([("14:00", "15:00")], 60),
        ([("13:00", "15:00")], 60),
        ([("15:00", "17:00")], 60),
        ([("13:00", "17:00")], 120),
        ([("14:00", "15:00"), ("14:30", "15:30")], 90),  # overlapping
        ([("14:00", "15:00"), ("14:10", "14:20")], 60),  # one within the other
        ([("14:00", "15:00"), ("15:00", "16:00")], 120),
        ([("14:00", "14:10"), ("15:00", "15:10")], 20),
        ([("14:00:00", "14:00:29")], 0),
        ([("14:00:00", "14:00:30")], 1),
        ([("14:00:00", "14:01:29.999999")], 1),
        ([("14:00:00", "14:00:20"), ("15:00:00", "15:00:20")], 1),  # rounded once, at the end
        ([("14:30", "14:30")], 0),
        ([("14:00", "14:00")], 0),
        ([("14:30", "14:20")], 0),  # a clock that ran back
    ],
)
def test_ended_sessions_count_once_within_the_period(sessions, expected):
    for start, end in sessions:
        create_session(BOB, at(start), at(end))
    assert minutes() == expected


@pytest.mark.parametrize(
    ("start", "end"), [("12:00", "14:00"), ("16:00", "17:00"), ("13:59", "13:59"), ("16:00", "16:00"), ("16:00", None)]
)
def test_session_outside_the_period_does_not_count(start, end):
    create_session(BOB, at(start), end and at(end))
    assert build_summary(START, END)["active_users"] == 0


def test_old_open_session_does_not_count():
    create_session(BOB, START - 300 * 24 * HOUR)
    assert build_summary(START, END)["active_users"] == 0


def test_session_that_ended_later_covers_the_period():
    create_session(BOB, START - 300 * 24 * HOUR, END + 200 * 24 * HOUR)
    assert minutes() == 120


def test_end_in_the_future_is_ignored():
    create_session(BOB, START - HOUR, timezone.now() + 24 * HOUR)
    assert build_summary(START, END)["users"] == []
    for moment in ("14:10", "14:30"):
        create_feature_usage(BOB, at(moment))
    assert minutes() == 20


@pytest.mark.parametrize(("end", "expected"), [(timedelta(0), 60), (timedelta(microseconds=1), 0)])
def test_end_at_this_instant_counts(monkeypatch, end, expected):
    monkeypatch.setattr(timezone, "now", lambda: at("15:00"))
    create_session(BOB, START, at("15:00") + end)
    assert minutes() == expected


@pytest.mark.parametrize(
    ("began", "active", "expected"),
    [
        ("14:00", [], 0),
        ("14:00", ["14:30"], 30),  # its start is a moment
        ("14:00", ["14:30:01"], 0),
        ("14:00", ["14:31", "14:41"], 10),
        ("12:00", ["14:31", "14:41"], 10),
        ("12:00", ["14:31", "15:00", "15:30", "15:59"], 88),
        ("12:00", ["13:59", "14:10"], 0),  # of moments before the period nothing is known
        ("12:00", ["15:50", "16:00"], 0),
        ("12:00", ["14:05"], 0),
        ("14:50", ["14:10", "14:20", "15:00"], 10),  # what came before it began does not count
        ("14:50", ["14:49", "14:51"], 1),
        ("14:00", ["14:29", "14:58", "15:27", "15:56"], 116),
        ("13:00", ["14:00", "14:30", "15:00", "15:30"], 90),  # exactly half an hour apart
        ("13:00", ["14:00", "14:30:00.000001", "15:00:00.000001"], 30),
    ],
)
@pytest.mark.parametrize("happened", [create_feature_usage, create_error])
def test_open_session_counts_while_events_are_near(began, active, expected, happened):
    create_session(BOB, at(began))
    for moment in active:
        happened(BOB, at(moment))
    assert minutes() == expected


@pytest.mark.parametrize(
    ("began", "expected"),
    [
        (["13:00"], 40),
        (["11:00"], 30),  # over at 14:00, 14:10, 14:20 and 14:30, and then no more
        (["10:29"], 0),
        (["11:00", "09:00"], 30),
        (["11:00", "14:31"], 40),
        (["11:00", "15:30"], 30),
    ],
)
@pytest.mark.parametrize("happened", [create_feature_usage, create_error])
def test_open_session_ends_with_the_cookie_age(settings, began, expected, happened):
    settings.SESSION_COOKIE_AGE = 3.5 * 60 * 60
    for moment in began:
        create_session(BOB, at(moment))
    for moment in ("14:00", "14:10", "14:20", "14:30", "14:40"):
        happened(BOB, at(moment))
    assert minutes() == expected


def test_later_events_do_not_shorten_a_session(settings):
    settings.SESSION_COOKIE_AGE = 60 * 60
    create_session(BOB, at("13:10"))
    for moment in ("14:50", "15:00"):
        create_feature_usage(BOB, at(moment))
    assert minutes() == 0


def test_nightly_job_is_not_counted_after_an_old_login():
    create_session(BOB, START - 14 * 24 * HOUR - SECOND)
    for moment in ("14:00", "14:10", "14:20"):
        create_feature_usage(BOB, at(moment), "usage-summary")
    assert minutes() == 0


def test_requests_and_errors_both_extend_a_session():
    create_session(BOB, at("13:00"))
    create_feature_usage(BOB, at("14:00"))
    create_error(BOB, at("14:25"))
    create_feature_usage(BOB, at("14:50"))
    create_error(BOB, at("15:15"))
    create_feature_usage(ALICE, at("15:40"))
    assert times(build_summary(START, END)) == {BOB: 75, ALICE: 0}


def test_overlapping_open_sessions_count_once():
    for began in ("12:00", "14:10", "14:35"):
        create_session(BOB, at(began))
    create_session(BOB, at("14:15"), at("14:40"))
    for moment in ("14:00", "14:20", "14:50", "15:40"):
        create_feature_usage(BOB, at(moment))
    assert minutes() == 50


def test_gap_between_ended_and_open_session_does_not_count():
    create_session(BOB, START, at("14:10"))
    create_session(BOB, at("13:00"))
    for moment in ("14:25", "14:30"):
        create_feature_usage(BOB, at(moment))
    assert minutes() == 15


def test_person_without_session_has_no_time():
    for moment in ("14:00", "14:10", "14:20"):
        create_feature_usage(CAROL, at(moment))
    create_session(BOB, at("13:00"))
    assert times(build_summary(START, END)) == {CAROL: 0}


def test_machines_and_unknown_callers_have_no_time():
    for name in ("", "agent:PC-1", "client:gui"):
        create_session(name, START, END)
        create_session(name, START)
        create_feature_usage(name, START)
    assert build_summary(START, END)["users"] == []


@pytest.mark.parametrize(("seconds", "expected"), [(0, 0), (29.9, 0), (30, 1), (89.9, 1), (90, 2), (150, 3)])
def test_half_a_minute_is_rounded_up(seconds, expected):
    assert round_to_minutes(seconds) == expected
