"""Latency histograms: unlike means and percentiles, histograms of several periods can be merged.

The limits of a bucket are 6 % apart, so a latency read from one is off by 3 % at most.
"""

import math
from collections.abc import Iterable, Sequence

# Stored as JSON: counts by the number of the bucket as text. Empty buckets are left out.
Histogram = dict[str, int]

LEAST_MS, MOST_MS, GROWTH = 0.1, 120_000.0, 1.06
_LOG_GROWTH = math.log(GROWTH)


def nearest_rank_index(count: int, share: float) -> int:
    """Return the 1-based rank of the value that has this share of `count` sorted values at or below it.

    Computed in integers: 0.55 * 100 is slightly more than 55 in floats, and its ceiling would be 56.
    """
    return max(1, -(-round(share * 10_000) * count // 10_000))


def nearest_rank(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile, or None without values. `share` is from 0 to 1, with up to four digits."""
    return sorted(values)[nearest_rank_index(len(values), share) - 1] if values else None


def bucket_number(latency_ms: float) -> int:
    """Return the bucket of a latency, clamped to 0.1 ms and 120 s."""
    within = min(max(latency_ms, LEAST_MS), MOST_MS)
    return int(math.log(within / LEAST_MS) / _LOG_GROWTH)


def bucket_latency(number: int) -> float:
    """Return the geometric middle of the bucket in milliseconds."""
    return LEAST_MS * math.pow(GROWTH, number + 0.5)


def add_latency(histogram: Histogram, latency_ms: float) -> None:
    key = str(bucket_number(latency_ms))
    histogram[key] = histogram.get(key, 0) + 1


def merge_histograms(histograms: Iterable[Histogram]) -> Histogram:
    total: Histogram = {}
    for histogram in histograms:
        for key, count in histogram.items():
            total[key] = total.get(key, 0) + count
    return total


def percentiles(histogram: Histogram, shares: Sequence[float]) -> list[float | None]:
    """Return the percentile of each share in milliseconds, within 3 %, or None for a histogram without latencies.

    The shares must ascend: one pass reads all.
    """
    ordered = sorted((int(key), count) for key, count in histogram.items() if count)
    total, passed, place = sum(histogram.values()), 0, -1
    found: list[float | None] = []
    for share in shares:
        while ordered and passed < nearest_rank_index(total, share):
            place += 1
            passed += ordered[place][1]
        found.append(bucket_latency(ordered[place][0]) if ordered else None)
    return found
