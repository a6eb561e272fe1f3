"""Time that passes, as opposed to the time of day: nobody sets it, so durations survive a clock that is put right."""

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
    """What tells this start of this machine from all others; "" where the system does not say."""
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
        """How long it took: as the machine counted, or by the calendar where it was started again in between."""
        if self.boot and self.boot == later.boot:
            return timedelta(seconds=max(0.0, later.ticks - self.ticks))
        return max(timedelta(0), later.at - self.at)


def mark() -> Mark:
    """Now. The seconds of a machine that sleeps count as well."""
    return Mark(timezone.now(), this_boot(), time.clock_gettime(time.CLOCK_BOOTTIME))
