"""When targets are due, and how checks and rounds are spread."""

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.checks.pacing import next_due, next_start, phase, spread_seconds

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize("interval", [10, 3600])
def test_next_check_is_due_within_one_interval(interval):
    for number in range(200):
        assert timedelta(0) < next_due(number, interval, NOON) - NOON <= timedelta(seconds=interval)


def test_next_checks_are_one_interval_apart():
    first = next_due(7, 30, NOON)
    assert next_due(7, 30, first) - first == timedelta(seconds=30)


def test_missed_checks_are_skipped():
    first, later = next_due(7, 30, NOON), NOON + timedelta(hours=3)
    assert next_due(7, 30, later) - later <= timedelta(seconds=30)
    assert (next_due(7, 30, later) - first) % timedelta(seconds=30) == timedelta(0)


def test_targets_of_one_interval_are_spread_evenly():
    seconds = Counter(int((next_due(number, 30, NOON) - NOON).total_seconds()) for number in range(1, 301))
    assert len(seconds) == 30
    assert max(seconds.values()) <= 12


def test_consecutive_targets_have_distant_phases():
    phases = sorted(phase(number) for number in range(1, 11))
    assert min(later - earlier for earlier, later in itertools.pairwise(phases)) > 0.05


@pytest.mark.parametrize(("count", "interval", "seconds"), [(0, 60, 0), (4, 60, 1), (200, 60, 10), (200, 5, 2.5)])
def test_checks_are_spread_over_at_most_ten_seconds_and_half_the_interval(count, interval, seconds):
    assert spread_seconds(count, interval) == seconds


@pytest.mark.parametrize(
    ("now", "due"), [(103.0, 110.0), (110.0, 110.0), (110.1, 120.0), (147.0, 150.0), (100.0, 110.0)]
)
def test_rounds_start_an_interval_apart_and_missed_ones_are_skipped(now, due):
    assert next_start(100.0, 10, now) == due
