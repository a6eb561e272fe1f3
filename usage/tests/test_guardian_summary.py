"""The guardian's summary of a period."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from usage.guardian.summary import build_summary
from usage.tests.factories import at, create_error, create_feature_usage, create_session

pytestmark = pytest.mark.django_db
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
START, END = at("14:00"), at("16:00")
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def times(found):
    return {user["email"]: user["total_time_minutes"] for user in found["users"]}


# --- A day, counted by hand ------------------------------------------------------------------------------------------


@pytest.fixture
def day():
    """Create a day: Alice has ended sessions, Bob open ones, Carol none, plus machines and applications."""
    create_session(ALICE, at("08:00"), at("12:00"))
    create_session(ALICE, at("11:30"), at("14:30"))
    create_session(BOB, at("09:00"))
    for moment in ("09:00", "09:20", "09:50", "15:00", "15:10"):
        create_feature_usage(BOB, at(moment), "login" if moment == "09:00" else "document_upload")
    for moment in ("10:00", "13:59:59.999999", "14:00", "14:29"):
        create_feature_usage(ALICE, at(moment), "thread_create")
    create_feature_usage(ALICE, at("14:10"))
    create_error(ALICE, at("14:10"))
    create_error(BOB, at("15:30"), "Http404", 404)
    create_error(BOB, at("23:59:59.999999"), "TimeoutError", None)
    for moment in ("15:59:59.999999", "16:00"):
        create_feature_usage(CAROL, at(moment), "login")
    create_feature_usage("agent:PC-1", at("14:01"), "usage-report")
    create_feature_usage("agent:PC-1", at("15:01"), "usage-report")
    create_error("agent:PC-2", at("15:02"), "counters_mismatch", 400)
    create_feature_usage("client:gui_v6", at("15:03"), "usage-report")
    create_feature_usage("enroll:installer", at("15:04"), "agent-enroll")
    create_feature_usage("", at("15:05"), "login")
    create_error("", at("15:05"), "PermissionDenied", 403)


def test_summary_of_two_hours(day):
    assert build_summary(START, END) == {
        "period": "2026-03-10 14:00 - 16:00",
        "period_start": "2026-03-10T14:00:00.000Z",
        "period_end": "2026-03-10T16:00:00.000Z",
        "hours": 2,
        "active_users": 3,
        "active_machines": 2,
        "active_apps": 1,
        "total_requests": 11,
        "total_errors": 4,
        "users": [
            {
                "email": ALICE,
                "total_time_minutes": 30,
                "features_used": ["thread_create", "document_upload"],
                "requests_count": 3,
                "errors_count": 1,
                "errors": [
                    {"endpoint": "/api/documents", "error": "ValidationError", "timestamp": "2026-03-10 14:10:00"}
                ],
            },
            {
                "email": BOB,
                "total_time_minutes": 30,
                "features_used": ["document_upload"],
                "requests_count": 2,
                "errors_count": 1,
                "errors": [{"endpoint": "/api/documents", "error": "Http404", "timestamp": "2026-03-10 15:30:00"}],
            },
            {
                "email": CAROL,
                "total_time_minutes": 0,
                "features_used": ["login"],
                "requests_count": 1,
                "errors_count": 0,
                "errors": [],
            },
        ],
        "top_features": [
            {"name": "document_upload", "count": 3},
            {"name": "usage-report", "count": 3},
            {"name": "login", "count": 2},
            {"name": "thread_create", "count": 2},
            {"name": "agent-enroll", "count": 1},
        ],
        "error_breakdown": {"400": 2, "403": 1, "404": 1},
    }


def test_periods_of_a_day_add_up_to_the_day(day):
    whole = build_summary(at("00:00"), at("00:00") + 24 * HOUR)
    parts = [build_summary(at("00:00") + 2 * hour * HOUR, at("00:00") + 2 * (hour + 1) * HOUR) for hour in range(12)]
    for name in ("total_requests", "total_errors"):
        assert whole[name] == sum(part[name] for part in parts)
    assert (whole["total_requests"], whole["total_errors"]) == (17, 5)
    assert times(whole) == {ALICE: 390, BOB: 80, CAROL: 0}
    assert whole["error_breakdown"] == {"400": 2, "403": 1, "404": 1, "unknown": 1}
    assert list(whole["error_breakdown"]) == ["400", "403", "404", "unknown"]


def test_month_excludes_events_outside_its_bounds(day):
    create_feature_usage(CAROL, END - 720 * HOUR)
    create_feature_usage(BOB, END - 720 * HOUR - timedelta(microseconds=1))
    found = build_summary(END - 720 * HOUR, END)
    assert (found["hours"], found["total_requests"], found["period"]) == (
        720,
        17,
        "2026-02-08 16:00 - 2026-03-10 16:00",
    )


def test_empty_period_has_zero_counts():
    found = build_summary(START, END)
    assert found["users"] == found["top_features"] == []
    assert found["error_breakdown"] == {}
    assert {found[name] for name in found if name.startswith(("active", "total"))} == {0}


@pytest.mark.parametrize(
    ("start", "hours", "period"),
    [
        (at("14:00"), 2, "2026-03-10 14:00 - 16:00"),
        (at("22:00"), 2, "2026-03-10 22:00 - 2026-03-11 00:00"),
        (at("23:00"), 2, "2026-03-10 23:00 - 2026-03-11 01:00"),
        (at("00:00"), 2, "2026-03-10 00:00 - 02:00"),
    ],
)
def test_period_across_midnight_shows_both_dates(start, hours, period):
    assert build_summary(start, start + hours * HOUR)["period"] == period


@pytest.mark.parametrize(("day", "zone"), [("2026-03-29", "CEST"), ("2026-10-25", "CET")])
def test_clock_change_counts_each_hour_once(settings, day, zone):
    settings.TIME_ZONE = "Europe/Paris"
    start = at("00:00", day)
    create_session(BOB, start, start + 2 * HOUR)
    create_session(ALICE, start)
    for half_hours in range(9):
        create_feature_usage(ALICE, start + half_hours * HOUR / 2)
    found = build_summary(start, start + 2 * HOUR)
    assert found["period"] == f"{day} 00:00 - 02:00"
    assert times(found) == {ALICE: 90, BOB: 120}
    assert found["total_requests"] == 4
    assert times(build_summary(start, start + 4 * HOUR)) == {ALICE: 210, BOB: 120}
    assert times(build_summary(start + 2 * HOUR, start + 4 * HOUR)) == {ALICE: 90}


def test_bounds_in_another_zone_give_the_same_summary():
    create_feature_usage(BOB, at("14:30"))
    local = [moment.astimezone(ZoneInfo("Europe/Paris")) for moment in (START, END)]
    assert build_summary(*local) == build_summary(START, END)
    assert local[0].hour == 15


# --- Order -----------------------------------------------------------------------------------------------------------


def test_ties_are_sorted_by_name_on_any_database():
    names = ["Zoe@example.org", "a.b@example.org", "a-b@example.org", "élise@example.org", "ab@example.org", "A@b"]
    for name in names:
        create_feature_usage(name, START, name.partition("@")[0])
    found = build_summary(START, END)
    assert [user["email"] for user in found["users"]] == sorted(names)
    tops = [feature["name"] for feature in found["top_features"]]
    assert tops == sorted(name.partition("@")[0] for name in names)


def test_ten_most_used_features_are_listed():
    for number in range(12):
        for _ in range(1 + (number == 11)):
            create_feature_usage("agent:PC-1", START, f"f{number:02}")
    tops = build_summary(START, END)["top_features"]
    assert tops[0] == {"name": "f11", "count": 2}
    assert [top["name"] for top in tops[1:]] == [f"f{number:02}" for number in range(9)]


def test_newest_20_errors_are_listed_and_all_counted():
    for number in range(25):
        create_error(BOB, START + number // 2 * SECOND, f"E{number:02}")
        create_error("", START, "S")
        create_error("agent:PC-1", START, "M")
    create_error(ALICE, START, "A")
    users = {user["email"]: user for user in build_summary(START, END)["users"]}
    assert users[BOB]["errors_count"] == 25
    assert [error["error"] for error in users[BOB]["errors"]] == [f"E{number:02}" for number in range(24, 4, -1)]
    assert [error["error"] for error in users[ALICE]["errors"]] == ["A"]
    assert users.keys() == {ALICE, BOB}


def test_sampling_rate_is_included(settings):
    assert "sample_percent" not in build_summary(START, END)
    settings.TRACKING_SAMPLE_PERCENT = 10
    assert build_summary(START, END)["sample_percent"] == 10


def test_tracking_off_is_zero_percent(settings):
    settings.TRACKING = False
    assert build_summary(START, END)["sample_percent"] == 0


# --- Cost ------------------------------------------------------------------------------------------------------------


def test_ten_people_need_same_queries_as_one():
    def queries():
        with CaptureQueriesContext(connection) as asked:
            build_summary(START, END)
        return len(asked)

    def come(number):
        create_session(f"u{number}@example.org", START)
        create_session(f"u{number}@example.org", START, END)
        create_feature_usage(f"u{number}@example.org", START)
        create_error(f"u{number}@example.org", START)

    come(0)
    once = queries()
    for number in range(1, 10):
        come(number)
    assert queries() == once <= 10


def test_error_timestamp_is_in_utc(settings):
    settings.TIME_ZONE = "Europe/Paris"
    create_error(BOB, datetime(2026, 3, 10, 14, 30, 12, 999_999, tzinfo=UTC))
    (error,) = build_summary(START, END)["users"][0]["errors"]
    assert error["timestamp"] == "2026-03-10 14:30:12"
