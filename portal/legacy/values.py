"""Values as older tools wrote them: texts in any encoding, times without a zone, machine ids in any spelling."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.utils import timezone
from vigie_client.contract import MACHINE_ID, machine_name

from portal.base.text import decode_text

# Older than any tool that data is imported from: such a time is of a clock that was never set.
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
# A clock may be ahead by this much.
TOLERANCE = timedelta(minutes=5)
LONGEST_TIME = 40
NUMBER = re.compile(r"[0-9]{9,11}(\.[0-9]{1,12})?")


def read_text(value: Any) -> str:
    """Return a value of a table as a text."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return decode_text(value)
    return value if isinstance(value, str) else str(value)


def read_moment(value: Any, zone: tzinfo) -> datetime | None:
    """Return a time in UTC, None for an empty value. Raises ValueError if it is no time, or not a plausible one.

    A time in ISO 8601 is in `zone` unless it names its own. A number counts the seconds since 1970.
    """
    text = read_text(value).strip()
    if not text:
        return None
    if len(text) > LONGEST_TIME:
        raise ValueError("not a time")
    try:
        moment = parse_old_time(text, zone)
    except OverflowError:
        raise ValueError("not a time") from None
    if not EARLIEST <= moment <= timezone.now() + TOLERANCE:
        raise ValueError("not a plausible time")
    return moment


def parse_old_time(text: str, zone: tzinfo) -> datetime:
    if NUMBER.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC)
    moment = datetime.fromisoformat(text.removesuffix(" UTC"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def read_integer(value: Any) -> Any:
    """Return an integer for a number without fraction, of any type; any other value as it is, to be refused."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}(\.0+)?", value.strip()):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


def reduce_machine_id(text: str) -> str:
    """Return a machine id by the client's rule: a valid one trimmed, any other reduced; empty if nothing is left."""
    trimmed = text.strip()
    return trimmed if re.fullmatch(MACHINE_ID, trimmed) else machine_name(trimmed[:1_000])
