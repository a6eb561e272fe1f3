"""When targets are due."""

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.pace import next_due, phase

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize("interval", [10, 30, 60, 3600])
def test_the_next_check_comes_within_an_interval_and_never_at_once(interval):
    for number in range(200):
        assert timedelta(0) < next_due(number, interval, NOON) - NOON <= timedelta(seconds=interval)


def test_one_check_follows_the_other_at_the_interval():
    first = next_due(7, 30, NOON)
    assert next_due(7, 30, first) - first == timedelta(seconds=30)


def test_what_was_missed_is_not_made_up_for():
    first, later = next_due(7, 30, NOON), NOON + timedelta(hours=3)
    assert next_due(7, 30, later) - later <= timedelta(seconds=30)
    assert (next_due(7, 30, later) - first) % timedelta(seconds=30) == timedelta(0)


def test_targets_of_one_interval_are_spread_evenly():
    seconds = Counter(int((next_due(number, 30, NOON) - NOON).total_seconds()) for number in range(1, 301))
    assert len(seconds) == 30
    assert max(seconds.values()) <= 12


def test_targets_in_a_row_lie_far_apart():
    phases = sorted(phase(number) for number in range(1, 11))
    assert min(later - earlier for earlier, later in itertools.pairwise(phases)) > 0.05
