"""Latencies counted in buckets. Averages and percentiles of several periods cannot be added up; their buckets can.

A bucket's limits lie 6 % apart, so that what is read from one is off by 3 % at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

# JSON: the bucket's number as text, and how many latencies fell into it. Empty buckets are left out.
Histogram = dict[str, int]

LEAST_MS, MOST_MS, GROWTH = 0.1, 120_000.0, 1.06
_LOG_GROWTH = math.log(GROWTH)


def rank(count: int, share: float) -> int:
    """Which of `count` sorted values, counted from 1, has that share of them at or below it.

    In whole numbers: a product such as 0.55 * 100 is a little more than 55, and its ceiling 56.
    """
    return max(1, -(-round(share * 10_000) * count // 10_000))


def nearest_rank(values: Sequence[float], share: float) -> float | None:
    """`sorted[ceil(share * n) - 1]`; None of no values. `share` is from 0 to 1, to four digits."""
    return sorted(values)[rank(len(values), share) - 1] if values else None


def bucket(latency_ms: float) -> int:
    """Latencies below 0.1 ms or above 120 s count as those."""
    within = min(max(latency_ms, LEAST_MS), MOST_MS)
    return int(math.log(within / LEAST_MS) / _LOG_GROWTH)


def value(number: int) -> float:
    """Milliseconds that stand for the bucket: its geometric middle."""
    return LEAST_MS * math.pow(GROWTH, number + 0.5)


def add(histogram: Histogram, latency_ms: float) -> None:
    key = str(bucket(latency_ms))
    histogram[key] = histogram.get(key, 0) + 1


def merged(histograms: Iterable[Histogram]) -> Histogram:
    total: Histogram = {}
    for histogram in histograms:
        for key, count in histogram.items():
            total[key] = total.get(key, 0) + count
    return total


def percentile(histogram: Histogram, share: float) -> float | None:
    """Milliseconds, within 3 %; None of an empty histogram."""
    return percentiles(histogram, [share])[0]


def percentiles(histogram: Histogram, shares: Sequence[float]) -> list[float | None]:
    """Of each share, which must ascend, in one walk along the buckets."""
    ordered = sorted((int(key), count) for key, count in histogram.items())
    total, passed, place = sum(histogram.values()), 0, -1
    found: list[float | None] = []
    for share in shares:
        while ordered and passed < rank(total, share):
            place += 1
            passed += ordered[place][1]
        found.append(value(ordered[place][0]) if ordered else None)
    return found
