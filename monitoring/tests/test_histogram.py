"""Percentiles, of values and of buckets that stand for them."""

import math
import random

import pytest

from monitoring.figures import histogram


def up_to(count):
    """The values 1 to `count`, in no order."""
    values = [float(number) for number in range(1, count + 1)]
    random.Random(count).shuffle(values)
    return values


@pytest.mark.parametrize(
    ("count", "p50", "p95", "p99"),
    [
        (1, 1, 1, 1),
        (2, 1, 2, 2),
        (19, 10, 19, 19),
        (20, 10, 19, 20),
        (21, 11, 20, 21),
        (100, 50, 95, 99),
        (101, 51, 96, 100),
    ],
)
def test_percentile_is_one_of_the_values(count, p50, p95, p99):
    values = up_to(count)
    assert [histogram.nearest_rank(values, share) for share in (0.5, 0.95, 0.99)] == [p50, p95, p99]


@pytest.mark.parametrize("percent", range(1, 101))
def test_rank_is_computed_in_integers(percent):
    for count in (1, 7, 20, 100, 140, 1_000, 1_000_000):
        assert histogram.nearest_rank_index(count, percent / 100) == -(-percent * count // 100)


def test_percentile_of_nothing_is_none():
    assert histogram.nearest_rank([], 0.95) is None
    assert histogram.percentiles({}, [0.95]) == histogram.percentiles({"110": 0}, [0.95]) == [None]


def test_smallest_share_is_the_smallest_value():
    assert histogram.nearest_rank([3.0, 1.0, 2.0], 0) == 1.0


@pytest.mark.parametrize("latency", [0.1, 0.5, 1, 9.99, 100, 119.4, 1_000, 30_000, 119_999])
def test_bucket_latency_is_within_three_percent(latency):
    assert histogram.bucket_latency(histogram.bucket_number(latency)) == pytest.approx(latency, rel=0.0301)


def test_bucket_number_grows_with_the_latency():
    numbers = [histogram.bucket_number(0.1 * 1.01**step) for step in range(1_400)]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == numbers[-1] - numbers[0] + 1


@pytest.mark.parametrize(
    ("latency", "as_if"), [(0, 0.1), (-5, 0.1), (0.0999, 0.1), (120_001, 120_000), (1e12, 120_000)]
)
def test_latencies_beyond_the_limits_are_clamped(latency, as_if):
    assert histogram.bucket_number(latency) == histogram.bucket_number(as_if)


def test_adding_latencies_creates_only_their_buckets():
    counted = {}
    for latency in (100, 101, 5_000):
        histogram.add_latency(counted, latency)
    assert counted == {str(histogram.bucket_number(100)): 2, str(histogram.bucket_number(5_000)): 1}


def test_histograms_of_several_periods_merge():
    parts = [{"1": 2, "7": 1}, {}, {"7": 3}]
    assert histogram.merge_histograms(parts) == {"1": 2, "7": 4}
    assert parts == [{"1": 2, "7": 1}, {}, {"7": 3}]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.95, 0.99, 1])
def test_percentile_of_a_histogram_is_within_three_percent(share):
    drawn = random.Random(7)
    values = [math.exp(drawn.gauss(5, 1)) for _ in range(5_000)]
    counted = {}
    for latency in values:
        histogram.add_latency(counted, latency)
    exact = histogram.nearest_rank(values, share)
    assert histogram.percentiles(counted, [share]) == [pytest.approx(exact, rel=0.0301)]


def test_buckets_are_sorted_by_number():
    assert histogram.percentiles({"9": 1, "100": 1}, [0.5]) == [histogram.bucket_latency(9)]
