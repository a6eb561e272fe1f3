"""Storing feedback: each once, with the time at which it was given."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from beta.feedback import intake
from beta.feedback.reading import read_feedback
from beta.models import BetaFeedback
from beta.tests.factories import create_programme, feedback_body

NOON, MINUTE = datetime(2026, 3, 10, 12, tzinfo=UTC), timedelta(minutes=1)


@pytest.fixture
def programme(db):
    return create_programme()


def record(counted_in, source="client:gui", **changes):
    return intake.store_feedback(read_feedback(feedback_body(**changes)), counted_in, source, timezone.now())


SAME = {"id": "0" * 32}


def test_equivalent_feedback_with_the_same_id_is_a_duplicate(programme):
    assert record(programme, **SAME, given_at="2026-03-10T09:20:00Z") == "recorded"
    for again in ({}, {"given_at": "2026-03-10T09:21:00Z"}, {"participant": " CAROL@example.org "}, {"type": "other"}):
        assert record(programme, **SAME | again) == "duplicate"
    assert record(programme, id=str(uuid.UUID("0" * 32))) == "duplicate"
    assert BetaFeedback.objects.get().given_at == datetime(2026, 3, 10, 9, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"participant": "dave"}, {"type": "bug"}, {"nps_score": 0}, {"comment": "It stops."},
    ],
)  # fmt: skip
def test_other_content_with_a_known_id_conflicts(programme, change):
    record(programme, **SAME)
    assert record(programme, **SAME | change) == "conflict"
    assert BetaFeedback.objects.count() == 1


def test_other_severity_page_or_version_with_a_known_id_conflicts(programme):
    record(programme, **SAME)
    for change in ({"severity": "low"}, {"page": "/"}, {"app_version": "1"}):
        assert record(programme, **SAME | change) == "conflict", change
    assert BetaFeedback.objects.count() == 1


def test_same_content_for_another_programme_conflicts(programme):
    record(programme, **SAME, programme="spring-beta")
    assert record(create_programme("other"), **SAME, programme="other") == "conflict"


def test_repeated_feedback_is_a_duplicate_after_triage(programme):
    record(programme, **SAME, type="bug", severity="low")
    BetaFeedback.objects.update(type="feature", severity="critical", status="declined")
    assert record(programme, **SAME, type="bug", severity="low") == "duplicate"
    kept = BetaFeedback.objects.get()
    assert (kept.type, kept.severity, kept.status) == ("feature", "critical", "declined")


def test_repeated_feedback_is_a_duplicate_after_renaming_the_programme(programme):
    record(programme, **SAME)
    programme.name = "summer-beta"
    programme.save()
    assert record(programme, **SAME) == "duplicate"


def test_repeated_feedback_of_an_erased_participant_is_not_stored_again(programme):
    record(programme, **SAME)
    BetaFeedback.objects.update(participant="erased", comment="", digest="")
    assert record(programme, **SAME, comment="It stops.") == "duplicate"
    assert BetaFeedback.objects.get().participant == "erased"


def test_feedback_without_a_time_is_given_when_received(programme):
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    intake.store_feedback(read_feedback(feedback_body()), programme, "public", now)
    kept = BetaFeedback.objects.get()
    assert (kept.received_at, kept.given_at, kept.source, kept.status) == (now, now, "public", "open")
    assert len(kept.digest) == 64


LONG_AGO, FIRST_DAY = "2026-02-01T00:00:00Z", datetime(2026, 3, 2, tzinfo=UTC)


def test_given_at_is_not_before_the_first_day(programme, settings):
    record(programme, given_at=LONG_AGO)
    assert BetaFeedback.objects.get().given_at == FIRST_DAY
    settings.TIME_ZONE = "Asia/Tokyo"
    record(programme, given_at="2026-03-01T14:59:59Z")
    record(programme, given_at="2026-03-01T15:00:00Z")
    midnight = datetime(2026, 3, 1, 15, tzinfo=UTC)
    assert [row.given_at for row in BetaFeedback.objects.order_by("-id")[:2]] == [midnight, midnight]


def test_given_at_is_not_after_receipt_for_a_future_programme(programme):
    """Of a programme that is yet to begin."""
    programme.starts = timezone.localdate() + timedelta(days=9)
    record(programme, given_at="2026-03-10T09:20:00Z")
    kept = BetaFeedback.objects.get()
    assert kept.given_at == kept.received_at


@pytest.mark.parametrize(
    ("times", "given_at", "clock"),
    [
        ({"given_at": "2026-03-10T09:20:00Z"}, datetime(2026, 3, 10, 9, 20, tzinfo=UTC), ""),
        ({"given_at": "2026-03-10T12:06:00Z"}, NOON, "dropped"),
        ({"given_at": "1970-01-01T00:01:00Z", "sent_at": "1970-01-01T00:03:00Z"}, NOON - 2 * MINUTE, "corrected"),
    ],
)
def test_feedback_with_a_wrong_clock_is_kept_and_timed_by_the_same_rule(programme, monkeypatch, times, given_at, clock):
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    body = feedback_body(**times)
    assert record(programme, **body) == "recorded"
    monkeypatch.setattr(timezone, "now", lambda: NOON + 7 * MINUTE)
    assert record(programme, **body) == "duplicate"
    kept = BetaFeedback.objects.get()
    assert (kept.given_at, kept.received_at, kept.clock) == (given_at, NOON, clock)
