"""Retry delays: exponential backoff with jitter, and the Retry-After header."""

from __future__ import annotations

import email.utils
import re
from typing import Callable, Optional

Rng = Callable[[], float]
"""Returns a float from 0 up to 1, as `random.random` does."""

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0
LONGEST_RETRY_AFTER = 86_400.0
AUTH_PAUSE = 900.0
"""Seconds to pause after a refused token, which only a person can fix."""


def backoff_delay(failures: int, rng: Rng) -> float:
    """Return the seconds to wait after `failures` in a row: 1, 2, 4 ... up to LONGEST_DELAY, shortened at random."""
    if failures <= 0:
        return 0.0
    return add_jitter(min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 32)), rng)


def add_jitter(seconds: float, rng: Rng) -> float:
    """Shorten `seconds` at random by up to half, so that a fleet that failed together does not retry together."""
    return seconds * (1.0 - rng() / 2.0)


def parse_retry_after(value: object, now: float) -> Optional[float]:
    """Return the seconds of a Retry-After header (seconds, or an HTTP date compared with `now`), at most a day."""
    if not isinstance(value, str):
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
