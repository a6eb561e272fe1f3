"""How the services are: the tile of the landing page."""

import pytest
from django.core.cache import cache
from django.utils import timezone, translation

from monitoring.alerts.incidents import IncidentOpening, open_incidents
from monitoring.clock import mark
from monitoring.figures.uptime import DAY, HOUR, MINUTE, floor_to_step
from monitoring.models import Rollup, Round
from monitoring.panels import count_states, format_milliseconds, services_tile
from monitoring.tests.factories import create_rollup

pytestmark = pytest.mark.django_db
Period = Rollup.Period


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


class TestStateCounts:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"state": "up"}, (1, 0, 0, 0, 0, 0, 0)),
            ({"state": "slow"}, (1, 1, 0, 0, 0, 0, 0)),
            ({"state": "failing"}, (0, 0, 1, 0, 0, 0, 0)),
            ({"state": "unstable"}, (0, 0, 0, 1, 0, 0, 0)),
            ({"state": "down"}, (0, 0, 0, 0, 1, 0, 0)),
            ({"state": "unknown"}, (0, 0, 0, 0, 0, 1, 0)),
            ({"state": "up", "is_active": False}, (0, 0, 0, 0, 0, 0, 1)),
            ({"state": "down", "is_active": False}, (0, 0, 0, 0, 0, 0, 1)),
            ({"state": "slow", "is_late": True}, (0, 0, 0, 0, 0, 0, 0)),
            ({"state": "down", "is_late": True}, (0, 0, 0, 0, 1, 0, 0)),
        ],
    )
    def test_slow_target_counts_as_up_unless_overdue(self, make_target, fields, expected):
        now, is_late = timezone.now(), "is_late" in fields
        make_target(
            **{name: value for name, value in fields.items() if name != "is_late"},
            next_check_at=now - 6 * MINUTE if is_late else now,
        )
        found = count_states(now)
        names = ("up", "slow", "failing", "unstable", "down", "unknown", "paused")
        assert tuple(getattr(found, name) for name in names) == expected
        assert (found.watched, found.overdue) == (0 if found.paused else 1, 1 if is_late else 0)


class TestTile:
    def test_tile_counts_targets_that_are_up(self, make_target):
        now = timezone.now()
        for name, state in (("a", "up"), ("b", "slow"), ("c", "down")):
            target = make_target(name, state=state)
        make_target("d", is_active=False)
        open_incidents([IncidentOpening(target.subject, "unavailable", target)], mark())
        for number, p95 in ((1, 90.0), (2, 312.4)):
            Round.objects.create(
                number=number, started_at=now, finished_at=now - 2 * HOUR, checks=3, failures=0, p95_ms=p95
            )
        create_rollup(target, Period.DAY, floor_to_step(now, DAY), checks=1000, failures=1)
        create_rollup(target, Period.DAY, floor_to_step(now, DAY) - 40 * DAY, checks=1000, failures=1000)
        create_rollup(target, Period.HOUR, floor_to_step(now, HOUR), checks=1000, failures=1000)
        tile = services_tile(now)
        assert (tile.figure, tile.caption, tile.url) == ("2 of 3", "up", "/admin/monitoring/target/")
        assert dict(tile.facts) == {
            "open incidents": "1", "p95 (last minute)": "312 ms", "30-day uptime": "99.90 %",
            "last check": "2\xa0h ago",
        }  # fmt: skip

    def test_tile_charts_failures_of_thirty_days(self, make_target):
        now = timezone.now()
        for name in ("a", "b"):
            create_rollup(make_target(name), Period.DAY, floor_to_step(now, DAY) - 2 * DAY, failures=3)
        chart = services_tile(now).chart
        assert (chart.values[-3:], len(chart.values)) == ([6, 0, 0], 30)

    def test_tile_without_data_says_so(self):
        tile = services_tile(timezone.now())
        assert (tile.figure, tile.caption) == ("0", "targets monitored")
        assert [value for _name, value in tile.facts] == ["0", "–", "–", "never"]

    def test_tile_caches_the_month_for_a_minute(self, target, django_assert_num_queries):
        now = timezone.now()
        create_rollup(target, Period.DAY, floor_to_step(now, DAY))
        with django_assert_num_queries(4):
            services_tile(now)
        with django_assert_num_queries(3):
            services_tile(now)


@pytest.mark.one_database("computed in Python")
@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.44, "0.4 ms"), (9.9, "9.9 ms"), (9.97, "10.0 ms"), (10.4, "10 ms"), (183.2, "183 ms"), (1204.0, "1,204 ms")]
)  # fmt: skip
def test_milliseconds_have_a_decimal_below_ten(value, text):
    assert format_milliseconds(value) == text


def test_milliseconds_are_formatted_in_the_readers_locale():
    with translation.override("fr"):
        assert format_milliseconds(7.44).startswith("7,4")
