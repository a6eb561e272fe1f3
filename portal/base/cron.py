"""Cron expressions in a time zone: checked within a bounded time, and walked in both directions."""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

LONGEST = 100
FIELDS = 5


def parse_zone(name: str) -> ZoneInfo:
    """Raises ValueError for a name that is no time zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError):  # unknown, or the name of a folder
        raise ValueError(f"{name} is no time zone") from None


def cron_times(expression: str, zone: str, start: datetime, *, backward: bool = False) -> Iterator[datetime]:
    """Yield the times after `start`, or before it, in UTC; one that the clock skips is moved to the end of the gap.

    Raises ValueError for an invalid expression, and when there is no further time.
    """
    if len(expression) > LONGEST or len(expression.split()) != FIELDS:
        raise ValueError("five fields are expected")
    try:
        times = CronSim(expression, start.astimezone(parse_zone(zone)), reverse=backward)
    except CronSimError as error:
        raise ValueError(str(error)) from None
    last = start
    for time in times:
        moment = time.astimezone(UTC)
        if moment < last if backward else moment > last:  # two times within one gap become the same
            yield moment
            last = moment
    raise ValueError("there is no further time")
