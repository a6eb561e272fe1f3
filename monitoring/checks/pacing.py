"""When checks start: each target at a phase of its own, the checks of a round spread over seconds."""

import math
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# The checks of one round in a terminal are spread over this long at most, and over this long for each target.
LONGEST_SPREAD, SPREAD_OF_ONE = 10.0, 0.25


def phase(number: int) -> float:
    """Return the golden-ratio phase in [0, 1): consecutive numbers are as far apart as possible."""
    return number * GOLDEN_RATIO % 1


def next_due(number: int, interval: float, after: datetime) -> datetime:
    """Return the next check of the target with this key: at multiples of its interval, shifted by its phase."""
    offset = phase(number) * interval
    passed = (after - EPOCH).total_seconds() - offset
    steps = math.floor(passed / interval) + 1
    return EPOCH + timedelta(seconds=offset + steps * interval)


def spread_seconds(count: int, interval: float) -> float:
    """Return the seconds over which `count` checks begin."""
    return min(LONGEST_SPREAD, interval / 2, SPREAD_OF_ONE * count)


def next_start(started: float, interval: float, now: float) -> float:
    """Return when the next round starts. Rounds whose time has passed are skipped."""
    return started + interval * max(1, math.ceil((now - started) / interval))
