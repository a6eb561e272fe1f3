"""When to try again: pure arithmetic on what the portal said and how often it failed."""

from __future__ import annotations

import email.utils
import re
from typing import Callable, Optional

Rng = Callable[[], float]
"""Answers a float from 0 up to 1, as `random.random` does."""

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0
LONGEST_RETRY_AFTER = 86_400.0
AUTH_PAUSE = 900.0
"""Seconds to leave the portal alone once it refused the token: only a person can mend that."""


def backoff_delay(failures: int, rng: Rng, *, cap: float = LONGEST_DELAY) -> float:
    """Seconds to wait after `failures` in a row: 1, 2, 4 ... up to `cap`, each shortened at random by up to half."""
    if failures <= 0:
        return 0.0
    return jittered(min(cap, FIRST_DELAY * 2.0 ** min(failures - 1, 32)), rng)


def jittered(seconds: float, rng: Rng) -> float:
    """From half of `seconds` to all of it, so that a fleet that failed together doesn't come back together."""
    return seconds * (1.0 - rng() / 2.0)


def parse_retry_after(value: object, now: float) -> Optional[float]:
    """Seconds from a Retry-After header (seconds or an HTTP date, against the Unix time `now`), at most a day."""
    if not isinstance(value, str):
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
