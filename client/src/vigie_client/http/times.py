"""Times as the portal's calls carry them: ISO 8601 in UTC."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Union


def parse_time(value: Union[datetime, str]) -> datetime:
    """Return an aware UTC time. Raises ValueError, without the value, unless it is a datetime or ISO 8601 text."""
    if isinstance(value, str):
        try:
            # Python 3.9 and 3.10 do not parse the suffix Z.
            value = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value.strip()))
        except ValueError:
            raise ValueError("not an ISO 8601 time") from None
    if not isinstance(value, datetime):
        raise ValueError("not a time")
    aware = value if value.utcoffset() is not None else value.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc)


def format_now() -> str:
    return format_utc(datetime.now(timezone.utc))


def format_utc(moment: datetime) -> str:
    """Return the time in the documented form: `2026-03-10T09:20:00Z`."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
