"""Monotonic time (CLOCK_BOOTTIME) beside the time of day, so that durations are immune to clock changes."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def this_boot() -> str:
    """Return the id of this boot of the machine, or "" if the system has none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Mark:
    """A moment by both clocks: `at` by the calendar, `ticks` in seconds since the machine's boot `boot`."""

    at: datetime
    boot: str
    ticks: float

    def until(self, later: Mark) -> timedelta:
        """Return the time passed, by the monotonic clock, or by the calendar after a reboot."""
        if self.boot and self.boot == later.boot:
            return timedelta(seconds=max(0.0, later.ticks - self.ticks))
        return max(timedelta(0), later.at - self.at)


def mark() -> Mark:
    """Return the current moment. Time in which the machine is suspended counts."""
    return Mark(timezone.now(), this_boot(), time.clock_gettime(time.CLOCK_BOOTTIME))
