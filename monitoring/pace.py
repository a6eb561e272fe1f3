"""When targets are due: each at a phase of its own, so that those of one interval do not all come at once."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
GOLDEN = (math.sqrt(5) - 1) / 2


def phase(number: int) -> float:
    """From 0 to 1, and for numbers in a row as far apart as can be."""
    return number * GOLDEN % 1


def next_due(number: int, interval: float, after: datetime) -> datetime:
    """The first moment of the target's own grid that is later; what was missed in between is not made up for."""
    offset = phase(number) * interval
    passed = (after - EPOCH).total_seconds() - offset
    steps = math.floor(passed / interval) + 1
    return EPOCH + timedelta(seconds=offset + steps * interval)
