"""Whether maintenance covers a moment."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from monitoring.alerts import maintenance
from monitoring.alerts.maintenance import MaintenanceScope, active_maintenance, is_window_active
from monitoring.models import MaintenanceWindow

# A Tuesday, 02:00 to 03:00.
START = datetime(2026, 3, 10, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def window(repeats="", start=START, length=HOUR):
    return MaintenanceWindow(name="Update", starts_at=start, ends_at=start + length, repeats=repeats)


@pytest.mark.parametrize(
    ("repeats", "after_start", "is_covered"),
    [
        ("", timedelta(seconds=-1), False),
        ("", timedelta(0), True),
        ("", HOUR - timedelta(seconds=1), True),
        ("", HOUR, False),
        ("", timedelta(days=1), False),
        ("daily", timedelta(seconds=-1), False),
        ("daily", timedelta(days=-1), False),
        ("daily", timedelta(days=1, minutes=30), True),
        ("daily", timedelta(days=1, hours=1), False),
        ("daily", timedelta(days=400, minutes=59), True),
        ("weekly", timedelta(days=1), False),
        ("weekly", timedelta(days=7, minutes=1), True),
        ("weekly", timedelta(days=7, minutes=-1), False),
        ("weekly", timedelta(days=70, minutes=60), False),
    ],
)
def test_window_covers_its_times(repeats, after_start, is_covered):
    assert is_window_active(window(repeats), START + after_start) is is_covered


def test_window_across_midnight_covers_both_days():
    late = window("daily", datetime(2026, 3, 10, 23, 30, tzinfo=UTC))
    assert is_window_active(late, datetime(2026, 3, 12, 0, 15, tzinfo=UTC))
    assert not is_window_active(late, datetime(2026, 3, 12, 0, 30, tzinfo=UTC))


def test_repeating_window_keeps_its_time_of_day_when_clocks_change(settings):
    settings.TIME_ZONE = "Europe/Paris"
    winter = datetime(2026, 3, 27, 2, tzinfo=UTC)  # 03:00 in Paris, two days before the change
    daily = window("daily", winter)
    assert is_window_active(daily, datetime(2026, 3, 28, 2, 30, tzinfo=UTC))
    assert is_window_active(daily, datetime(2026, 3, 30, 1, 30, tzinfo=UTC))
    assert not is_window_active(daily, datetime(2026, 3, 30, 2, 30, tzinfo=UTC))


PARIS = ZoneInfo("Europe/Paris")


def edges(window, first, days=3):
    """When it begins and ends within these days, by a clock on the wall in Paris."""
    moments = [first + timedelta(minutes=minute) for minute in range(days * 24 * 60)]
    states = [is_window_active(window, moment) for moment in moments]
    changes = zip(moments[1:], states, states[1:], strict=False)
    return [f"{moment.astimezone(PARIS):%d %H:%M %Z}" for moment, before, after in changes if before != after]


@pytest.mark.parametrize(
    ("start", "end", "repeats", "day", "expected"),
    [
        ((3, 28, 23), (3, 29, 6), "daily", (3, 28), ["28 23:00 CET", "29 06:00 CEST", "29 23:00 CEST", "30 06:00 CEST"]),
        ((3, 1, 23), (3, 2, 6), "daily", (3, 28), ["28 23:00 CET", "29 06:00 CEST", "29 23:00 CEST", "30 06:00 CEST"]),
        ((10, 24, 23), (10, 25, 6), "daily", (10, 24), ["24 23:00 CEST", "25 06:00 CET", "25 23:00 CET", "26 06:00 CET"]),
        ((10, 23, 18), (10, 26, 8), "weekly", (10, 30), ["30 18:00 CET", "02 08:00 CET"]),
        # The spring night skips its beginning, the autumn night has it twice.
        ((3, 1, 2, 30), (3, 1, 3, 30), "daily", (3, 28), ["29 03:00 CEST", "29 03:30 CEST", "30 02:30 CEST", "30 03:30 CEST"]),
        ((3, 1, 2, 30), (3, 1, 3, 30), "daily", (10, 24), ["25 02:30 CEST", "25 03:30 CET", "26 02:30 CET", "26 03:30 CET"]),
    ],
)  # fmt: skip
def test_repeating_window_keeps_its_wall_clock_times_in_nights_when_clocks_change(
    settings, start, end, repeats, day, expected
):
    settings.TIME_ZONE = "Europe/Paris"
    first, last, noon = (datetime(2026, *moment, tzinfo=PARIS).astimezone(UTC) for moment in (start, end, (*day, 12)))
    found = edges(window(repeats, first, last - first), noon)
    assert found[: len(expected)] == expected


@pytest.mark.parametrize(("repeats", "hours"), [("daily", 7), ("", 6)])
def test_repeating_window_over_a_spring_night_is_as_long_as_the_clock_shows(settings, repeats, hours):
    settings.TIME_ZONE = "Europe/Paris"
    night = window(repeats, datetime(2026, 3, 28, 23, tzinfo=PARIS).astimezone(UTC), timedelta(hours=6))
    assert night.length == timedelta(hours=hours)


@pytest.mark.parametrize(("hours", "is_refused"), [(23.5, False), (24.5, False), (25, True)])
def test_daily_window_over_an_autumn_night_may_last_almost_a_day_of_the_clock(settings, hours, is_refused):
    settings.TIME_ZONE = "Europe/Paris"
    daily = window("daily", datetime(2026, 10, 24, 20, tzinfo=UTC), timedelta(hours=hours))
    with pytest.raises(ValidationError) if is_refused else nullcontext():
        daily.clean()


@pytest.mark.django_db
def test_window_with_targets_covers_only_them(make_target):
    api, shop, other = make_target("API"), make_target("Shop"), make_target("Other")
    saved = window()
    saved.save()
    saved.targets.set([api, shop])
    found = active_maintenance(START)
    assert [found.includes(target.pk) for target in (api, shop, other)] == [True, True, False]
    assert active_maintenance(START + HOUR) == MaintenanceScope()


@pytest.mark.django_db
def test_window_of_many_targets_is_decided_once(make_target, monkeypatch):
    saved, decided = window("daily"), []
    saved.save()
    saved.targets.set([make_target(name) for name in ("API", "Shop", "Other")])
    monkeypatch.setattr(maintenance, "is_window_active", lambda window, now: decided.append(window.pk) or True)
    assert len(active_maintenance(START).targets) == 3
    assert decided == [saved.pk]


@pytest.mark.django_db
def test_window_without_targets_covers_all(target, django_assert_num_queries):
    window("weekly").save()
    with django_assert_num_queries(1):
        found = active_maintenance(START + timedelta(days=7))
    assert found.includes(target.pk)
    assert found.includes(None)


@pytest.mark.parametrize(
    ("repeats", "length"),
    [("", timedelta(0)), ("", -HOUR), ("daily", timedelta(days=1)), ("weekly", timedelta(days=7))],
)
def test_endless_or_overlapping_window_is_refused(repeats, length):
    with pytest.raises(ValidationError) as error:
        window(repeats, length=length).clean()
    assert list(error.value.message_dict) == ["ends_at"]
