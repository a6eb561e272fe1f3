"""Whether maintenance covers a moment."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from monitoring.maintenance import Covered, covering, covers
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
def test_a_window_covers_what_it_says(repeats, after_start, is_covered):
    assert covers(window(repeats), START + after_start) is is_covered


def test_one_across_midnight_covers_both_days():
    late = window("daily", datetime(2026, 3, 10, 23, 30, tzinfo=UTC))
    assert covers(late, datetime(2026, 3, 12, 0, 15, tzinfo=UTC))
    assert not covers(late, datetime(2026, 3, 12, 0, 30, tzinfo=UTC))


def test_it_keeps_to_the_time_of_day_when_the_clocks_change(settings):
    settings.TIME_ZONE = "Europe/Paris"
    winter = datetime(2026, 3, 27, 2, tzinfo=UTC)  # 03:00 in Paris, two days before the change
    daily = window("daily", winter)
    assert covers(daily, datetime(2026, 3, 28, 2, 30, tzinfo=UTC))
    assert covers(daily, datetime(2026, 3, 30, 1, 30, tzinfo=UTC))
    assert not covers(daily, datetime(2026, 3, 30, 2, 30, tzinfo=UTC))


@pytest.mark.django_db
def test_one_that_names_targets_covers_these_alone(make_target):
    api, shop, other = make_target("API"), make_target("Shop"), make_target("Other")
    saved = window()
    saved.save()
    saved.targets.set([api, shop])
    found = covering(START)
    assert [found.includes(target.pk) for target in (api, shop, other)] == [True, True, False]
    assert covering(START + HOUR) == Covered()


@pytest.mark.django_db
def test_one_that_names_none_covers_all(target, django_assert_num_queries):
    window("weekly").save()
    with django_assert_num_queries(2):
        found = covering(START + timedelta(days=7))
    assert found.includes(target.pk)
    assert found.includes(None)


@pytest.mark.parametrize(
    ("repeats", "length"),
    [("", timedelta(0)), ("", -HOUR), ("daily", timedelta(days=1)), ("weekly", timedelta(days=7))],
)
def test_one_that_never_ends_or_overlaps_itself_is_refused(repeats, length):
    with pytest.raises(ValidationError) as error:
        window(repeats, length=length).clean()
    assert list(error.value.message_dict) == ["ends_at"]
