"""Waiting for other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# Seconds after which a test gives up, whatever it waits for. A limit costs nothing while all is well, and a machine that
# is busy with other things must not fail a test.
PATIENCE = 120.0
Seen = TypeVar("Seen")


def wait_for(what: str, look: Callable[[], Seen], seconds: float = PATIENCE) -> Seen:
    """Poll `look` until it returns a true value, and return that. Raises an AssertionError that names what did not happen."""
    started = time.monotonic()
    while not (seen := look()):
        waited = time.monotonic() - started
        if waited > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(min(0.1, 0.01 + waited / 10))
    return seen
