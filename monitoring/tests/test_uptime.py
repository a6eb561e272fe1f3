"""Uptime, latencies, bars and charts, as they are read from rollups."""

from datetime import date, timedelta

import pytest
from django.utils import translation

from monitoring.figures import uptime
from monitoring.figures.uptime import (
    CHART_SPANS,
    WINDOWS,
    DayBar,
    UptimeFigures,
    floor_to_step,
    format_percent,
    load_bars,
    load_figures,
    load_series,
    round_uptime,
)
from monitoring.tests.factories import DAY, HOUR, MINUTE, NOON, bucket_value, create_rollup, create_target

TODAY = NOON - 12 * HOUR


@pytest.fixture
def target(db):
    return create_target()


# --- Steps of time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "step", "start"),
    [
        (NOON, DAY, TODAY),
        (TODAY - timedelta(microseconds=1), DAY, TODAY - DAY),
        (NOON + 59 * MINUTE, HOUR, NOON),
        (NOON + 59 * MINUTE, 10 * MINUTE, NOON + 50 * MINUTE),
        (NOON + 3 * HOUR, 4 * HOUR, NOON),
    ],
)
def test_step_begins_in_utc(moment, step, start):
    assert floor_to_step(moment, step) == start


# --- Figures ---------------------------------------------------------------------------------------------------------


def test_uptime_without_checks_is_none(target):
    for found in load_figures([target.pk], NOON)[target.pk].values():
        assert (found.checks, found.uptime, found.mean_ms) == (0, None, None)
        assert (found.p50_ms, found.p95_ms, found.p99_ms) == (None, None, None)


def test_uptime_is_the_share_of_good_checks(target):
    create_rollup(target, "hour", NOON, checks=60, failures=3)
    create_rollup(target, "hour", NOON - HOUR, checks=60)
    found = load_figures([target.pk], NOON, ["24h"])[target.pk]["24h"]
    assert (found.checks, found.failures, found.uptime) == (120, 3, 0.975)


def test_excluded_failures_do_not_change_uptime(target):
    create_rollup(target, "hour", NOON, checks=10, excused=50)
    create_rollup(target, "hour", NOON - HOUR, checks=0, excused=60)
    found = load_figures([target.pk], NOON, ["24h"])[target.pk]["24h"]
    assert (found.excused, found.uptime) == (110, 1)


def test_successful_retry_counts_in_the_error_rate(target):
    create_rollup(target, "hour", NOON, checks=15, retried=15)
    found = load_figures([target.pk], NOON, ["24h"])[target.pk]["24h"]
    watched_ad_hoc = UptimeFigures(checks=30, failures=15)
    assert (found.uptime, found.retried, found.error_rate) == (1, 15, 0.5)
    assert found.error_rate == watched_ad_hoc.error_rate


def test_latencies_of_several_hours_cover_all_checks(target):
    create_rollup(target, "hour", NOON - HOUR, checks=95, latency_ms=100)
    create_rollup(target, "hour", NOON, checks=5 + 7, failures=7, latency_ms=2_000)
    found = load_figures([target.pk], NOON, ["24h"])[target.pk]["24h"]
    assert found.mean_ms == 195
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (bucket_value(100), bucket_value(100), bucket_value(2_000))


def test_latency_is_none_if_all_checks_failed(target):
    create_rollup(target, "hour", NOON, checks=5, failures=5)
    found = load_figures([target.pk], NOON, ["24h"])[target.pk]["24h"]
    assert (found.uptime, found.mean_ms, found.p95_ms) == (0, None, None)


@pytest.mark.parametrize(
    ("window", "period", "inside", "outside"),
    [
        ("24h", "hour", NOON - 24 * HOUR, NOON - 25 * HOUR),
        ("7d", "hour", NOON - 7 * DAY, NOON - 7 * DAY - HOUR),
        ("30d", "day", TODAY - 29 * DAY, TODAY - 30 * DAY),
        ("90d", "day", TODAY - 89 * DAY, TODAY - 90 * DAY),
    ],
)
def test_window_reaches_back_its_full_length(target, window, period, inside, outside):
    create_rollup(target, period, inside, checks=3)
    create_rollup(target, period, outside, checks=100)
    create_rollup(target, period, NOON if period == "hour" else TODAY, checks=4)
    assert load_figures([target.pk], NOON + 59 * MINUTE, [window])[target.pk][window].checks == 7


def test_windows_loaded_together_keep_their_own_periods(target):
    for back in (1, 3):
        create_rollup(target, "hour", NOON - back * DAY, checks=10**back)
    for back in (20, 60):
        create_rollup(target, "day", TODAY - back * DAY, checks=back)
    found = load_figures([target.pk], NOON)[target.pk]
    assert {name: window.checks for name, window in found.items()} == {"24h": 10, "7d": 1_010, "30d": 20, "90d": 80}
    assert found["24h"].p50_ms == found["90d"].p50_ms == bucket_value(100)


def test_each_target_has_its_own_figures_with_two_queries(db, django_assert_num_queries):
    targets = [create_target() for _ in range(20)]
    for number, target in enumerate(targets):
        create_rollup(target, "hour", NOON, checks=100, failures=number)
        create_rollup(target, "day", TODAY, checks=1_000, failures=number)
    with django_assert_num_queries(2):
        found = load_figures([target.pk for target in targets], NOON)
    assert list(found[targets[0].pk]) == list(WINDOWS)
    assert [found[target.pk]["7d"].failures for target in targets] == list(range(20))
    assert [found[target.pk]["90d"].checks for target in targets] == [1_000] * 20


def test_histograms_are_not_parsed_for_uptime(target, monkeypatch):
    create_rollup(target, "hour", NOON, checks=4, failures=1)
    read = []
    added_up = uptime.merge_histograms
    monkeypatch.setattr(uptime, "merge_histograms", lambda *parts: read.append(parts) or added_up(*parts))
    found = load_figures([target.pk], NOON, ["24h"])[target.pk]["24h"]
    assert (found.uptime, found.mean_ms, read) == (0.75, 100, [])
    assert found.p95_ms == found.p99_ms == pytest.approx(100, rel=0.03)


def test_figures_from_hours_take_one_query(target, django_assert_num_queries):
    with django_assert_num_queries(1):
        load_figures([target.pk], NOON, ["24h", "7d"])


# --- Percent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uptime", "text"),
    [
        (None, "–"), (1, "100 %"), (1.0, "100 %"), (0, "0 %"), (0.9995, "99.95 %"), (0.5, "50.00 %"),
        (0.99996, "99.99 %"), (0.9999999, "99.99 %"), (0.0000001, "0.01 %"), (0.29, "29.00 %"),
    ],
)  # fmt: skip
def test_only_a_target_without_failures_has_100_percent(uptime, text):
    assert format_percent(uptime) == text


def test_percent_is_formatted_in_the_readers_locale():
    with translation.override("fr"):
        assert format_percent(0.9995).startswith("99,95")


@pytest.mark.parametrize(
    ("uptime", "shown"), [(None, None), (1, 1), (0.999999, 0.99999), (0.99931, 0.99931), (2 / 3, 0.66667), (0, 0)]
)
def test_only_a_target_without_failures_rounds_to_one(uptime, shown):
    assert round_uptime(uptime) == shown


def test_one_failure_in_ten_million_is_visible():
    found = UptimeFigures(checks=10_000_000, failures=1)
    assert (format_percent(found.uptime), round_uptime(found.uptime)) == ("99.99 %", 0.99999)


# --- Bars ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "failures", "state"),
    [(0, 0, "none"), (1, 0, "up"), (1440, 1, "partial"), (1440, 71, "partial"), (1440, 72, "down"), (2, 2, "down")],
)
def test_bar_has_the_state_of_its_day(checks, failures, state):
    assert DayBar(date(2026, 3, 10), checks, failures).state == state


def test_bars_cover_each_day_oldest_first(target, django_assert_num_queries):
    other = create_target()
    create_rollup(target, "day", TODAY, checks=9, failures=9)
    create_rollup(target, "day", TODAY - 29 * DAY, checks=7, excused=2)
    create_rollup(target, "day", TODAY - 28 * DAY, checks=0, excused=1_440)
    create_rollup(target, "day", TODAY - 30 * DAY)
    create_rollup(target, "hour", NOON, checks=50)
    with django_assert_num_queries(1):
        found = load_bars([target.pk, other.pk], NOON)
    days = found[target.pk]
    assert [bar.day for bar in days] == [(TODAY - back * DAY).date() for back in reversed(range(30))]
    assert days[0] == DayBar(date(2026, 2, 9), 7)
    assert days[-1] == DayBar(date(2026, 3, 10), 9, 9)
    assert {bar.state for bar in days[1:-1]} == {bar.state for bar in found[other.pk]} == {"none"}


# --- Series ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "points", "first", "last"),
    [
        ("3h", 180, NOON - 2 * HOUR - 15 * MINUTE, NOON + 44 * MINUTE),
        ("24h", 144, NOON - 23 * HOUR - 10 * MINUTE, NOON + 40 * MINUTE),
        ("7d", 168, NOON - 167 * HOUR, NOON),
        ("30d", 180, NOON + 4 * HOUR - 30 * DAY, NOON),
        ("1y", 365, TODAY - 364 * DAY, TODAY),
    ],
)
def test_series_covers_its_range_with_gaps_without_data(target, span, points, first, last):
    found = load_series(target.pk, NOON + 44 * MINUTE, span)
    assert len(found.starts) == len(found.p50) == len(found.p95) == len(found.failures) == points
    assert (found.starts[0], found.starts[-1]) == (first, last)
    assert set(found.p50) == set(found.p95) == {None}
    assert set(found.failures) == {0}
    assert set(CHART_SPANS) == {"3h", "24h", "7d", "30d", "1y"}


def test_point_of_a_series_sums_its_minutes(target, django_assert_num_queries):
    create_rollup(target, "minute", NOON, checks=60, latency_ms=100)
    create_rollup(target, "minute", NOON + 9 * MINUTE, checks=40, failures=3, latency_ms=900)
    create_rollup(target, "minute", NOON + 10 * MINUTE, checks=2, failures=2)
    create_rollup(target, "hour", NOON, checks=500, failures=400)
    create_rollup(create_target(), "minute", NOON, failures=10)
    with django_assert_num_queries(1):
        found = load_series(target.pk, NOON + 15 * MINUTE, "24h")
    assert found.p50[-2:] == [bucket_value(100), None]
    assert found.p95[-2:] == [bucket_value(900), None]
    assert found.failures[-3:] == [0, 3, 2]


def test_series_leaves_out_older_and_newer_rollups(target):
    create_rollup(target, "minute", NOON - 3 * HOUR)
    create_rollup(target, "minute", NOON + MINUTE)
    assert set(load_series(target.pk, NOON, "3h").p50) == {None}
