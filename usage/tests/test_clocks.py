"""Correction of clock skew in runs, events and sessions."""

from datetime import UTC, datetime, timedelta

import pytest

from usage.clocks import EARLIEST, SenderClock, SentTime
from usage.models import FeatureUsage, Run, UserError, UserSession
from usage.tests.payloads import error_event, feature_event, run_payload, session_event

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, YEAR = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 365 * 24 * 3600))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAR = (EPOCH, datetime(1999, 6, 1, tzinfo=UTC), datetime(2101, 6, 1, tzinfo=UTC))
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
DROPPED = SentTime(None, "dropped")


@pytest.fixture
def clock(monkeypatch):
    """Freeze the portal's clock at NOW until a test sets it."""

    class Clock:
        now = NOW

    monkeypatch.setattr("django.utils.timezone.now", lambda: Clock.now)
    return Clock


@pytest.mark.parametrize(
    ("stated", "sent", "stored"),
    [
        (None, None, SentTime(None)),
        (None, EPOCH, SentTime(None)),
        (NOW - HOUR, None, SentTime(NOW - HOUR)),
        (NOW - HOUR, NOW - 5 * MINUTE, SentTime(NOW - HOUR)),
        (NOW - HOUR, NOW + 5 * MINUTE, SentTime(NOW - HOUR)),
        (NOW - HOUR, NOW - 5 * MINUTE - SECOND, SentTime(NOW - 55 * MINUTE + SECOND, "corrected")),
        (NOW - YEAR - HOUR, NOW - YEAR, SentTime(NOW - HOUR, "corrected")),
        (NOW + YEAR - HOUR, NOW + YEAR, SentTime(NOW - HOUR, "corrected")),
        (NOW + 2 * HOUR, NOW + 2 * HOUR, SentTime(NOW, "corrected")),
        *[(far, far + MINUTE, SentTime(NOW - MINUTE, "corrected")) for far in FAR],
        # The clock was set between both: one of them is right, and which one shows.
        (NOW - HOUR, EPOCH, SentTime(NOW - HOUR, "dropped")),
        (NOW - HOUR, NOW - YEAR, SentTime(NOW - HOUR, "dropped")),
        (EPOCH, NOW, DROPPED),
        (EARLIEST - SECOND, NOW, DROPPED),
        (EARLIEST, NOW, SentTime(EARLIEST)),
        (NOW + 5 * MINUTE, None, SentTime(NOW + 5 * MINUTE)),
        (NOW + 5 * MINUTE + SECOND, None, DROPPED),
        *[(far, None, DROPPED) for far in FAR],
        (FIRST, LAST, DROPPED),
        (LAST, FIRST, DROPPED),
    ],
)
def test_stated_time_is_corrected_by_the_skew_or_dropped(stated, sent, stored):
    assert SenderClock(NOW, sent).time_of(stated) == stored


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("started", "sent", "started_at", "sent_at", "note"),
    [
        ("2025-03-10T11:00:00Z", "2025-03-10T11:30:00Z", "2026-03-10T11:30", "2025-03-10T11:30", "corrected"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:10:00Z", "2026-03-10T11:50", None, "corrected"),
        ("2101-01-01T00:00:00Z", "2101-01-01T00:10:00Z", "2026-03-10T11:50", None, "corrected"),
        ("2026-03-10T10:30:00Z", "1970-01-01T00:10:00Z", "2026-03-10T10:30", None, "dropped"),
        ("1999-01-01T00:00:00Z", None, None, None, "dropped"),
        ("2026-03-10T12:06:00Z", None, None, None, "dropped"),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", None, None, "dropped"),
    ],
)
def test_run_with_a_wrong_clock_is_recorded_once_in_its_hour(
    call, client_token, clock, started, sent, started_at, sent_at, note
):
    body = run_payload(started_at=started, sent_at=sent)
    assert call("POST", "usage/report", client_token, body=body).status_code == 201
    clock.now += 7 * MINUTE
    assert call("POST", "usage/report", client_token, body=body).status_code == 200
    stored = Run.objects.get()
    written = [at and f"{at:%Y-%m-%dT%H:%M}" for at in (stored.started_at, stored.sent_at)]
    assert (*written, stored.clock) == (started_at, sent_at, note)
    assert f"{stored.hour:%Y-%m-%dT%H}" == (started_at or "2026-03-10T12:00")[:13]


@pytest.mark.django_db
def test_run_dated_in_the_hour_after_its_receipt_counts_in_the_hour_of_receipt(call, client_token, clock):
    clock.now = NOW - 2 * MINUTE
    call("POST", "usage/report", client_token, body=run_payload(started_at=(NOW + 2 * MINUTE).isoformat()))
    stored = Run.objects.get()
    assert (stored.started_at, stored.hour) == (NOW + 2 * MINUTE, NOW - HOUR)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("at", "sent", "kept_at", "note"),
    [
        (NOW + 4 * MINUTE, None, NOW + 4 * MINUTE, ""),
        (NOW + 6 * MINUTE, None, NOW, "dropped"),
        (NOW + 6 * MINUTE, NOW + 8 * MINUTE, NOW - 2 * MINUTE, "corrected"),
        (EPOCH, EPOCH + 2 * MINUTE, NOW - 2 * MINUTE, "corrected"),
        (EPOCH, NOW, NOW, "dropped"),
        (NOW - HOUR, EPOCH, NOW - HOUR, "dropped"),
    ],
)
def test_event_with_a_wrong_clock_is_recorded_once(call, client_token, clock, at, sent, kept_at, note):
    body = {
        "sessions": [session_event(session_start=at.isoformat())],
        "features": [feature_event(timestamp=at.isoformat())],
        "errors": [error_event(timestamp=at.isoformat())],
        "sent_at": sent and sent.isoformat(),
    }
    for status in ("recorded", "duplicate"):
        answer = call("POST", "usage/events", client_token, body=body).json()
        assert [result[0]["status"] for result in answer["results"].values()] == [status] * 3
        assert answer["dropped_keys"] == 0
        clock.now += SECOND
    assert (UserSession.objects.get().session_start, UserSession.objects.get().clock) == (kept_at, note)
    for model in (FeatureUsage, UserError):
        assert (model.objects.get().timestamp, model.objects.get().clock) == (kept_at, note)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("start", "end", "sent", "stored"),
    [
        (EPOCH, EPOCH + HOUR, EPOCH + HOUR, (NOW - HOUR, NOW, 3600, "corrected")),
        (EPOCH, EPOCH + HOUR, NOW, (NOW - HOUR, NOW, 3600, "dropped")),
        (NOW - HOUR, NOW - 2 * HOUR, NOW, (NOW - HOUR, NOW - HOUR, None, "dropped")),
        (NOW - HOUR, EPOCH, NOW, (NOW - HOUR, NOW - HOUR, None, "dropped")),
        (EPOCH, NOW - MINUTE, NOW, (NOW - MINUTE, NOW - MINUTE, None, "dropped")),
    ],
)
def test_session_with_a_wrong_clock_keeps_its_duration_where_it_is_known(
    call, client_token, clock, start, end, sent, stored
):
    payload = session_event(session_start=start.isoformat(), session_end=end.isoformat())
    for status in ("recorded", "duplicate"):
        answer = call("POST", "usage/events", client_token, body={"sessions": [payload], "sent_at": sent.isoformat()})
        assert answer.json()["results"]["sessions"][0]["status"] == status
        clock.now += SECOND
    row = UserSession.objects.get()
    assert (row.session_start, row.session_end, row.duration_seconds, row.clock) == stored


@pytest.mark.django_db
def test_session_of_a_wrong_clock_is_ended_by_its_second_report(call, client_token, clock):
    payload = session_event(session_start=EPOCH.isoformat())
    call("POST", "usage/events", client_token, body={"sessions": [payload], "sent_at": EPOCH.isoformat()})
    clock.now += HOUR
    payload["session_end"] = (EPOCH + HOUR).isoformat()
    answer = call("POST", "usage/events", client_token, body={"sessions": [payload], "sent_at": payload["session_end"]})
    assert answer.json()["results"]["sessions"][0]["status"] == "recorded"
    row = UserSession.objects.get()
    assert (row.session_start, row.session_end, row.duration_seconds) == (NOW, NOW + HOUR, 3600)


@pytest.mark.django_db
def test_call_whose_sending_time_is_no_time_is_refused(call, client_token):
    answer = call("POST", "usage/events", client_token, body={"features": [feature_event()], "sent_at": "now"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "sent_at")
