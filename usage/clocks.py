"""Correct the times of runs, events and feedback for clock skew: a sender's clock may be wrong.

No item is refused for its time. An implausible time is dropped, and the item counts when it was received.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import models
from django.utils.translation import gettext_lazy as _

# Smaller differences are not corrected.
TOLERANCE = timedelta(minutes=5)
# There were no clients before 2020: an earlier time is from a clock that was never set.
EARLIEST, LATEST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class ClockNote(models.TextChoices):
    """The change made to the times that were sent; empty if they were kept.

    DROPPED means that the stated time was dropped, or that `sent_at` was wrong and not used to correct it.
    """

    CORRECTED = "corrected", _("time corrected")
    DROPPED = "dropped", _("time dropped")


class SentTime(NamedTuple):
    """The time to store, None if none was sent or it was dropped."""

    at: datetime | None
    note: str = ""


def clock_field() -> models.CharField[str, str]:
    """Return a column for a ClockNote."""
    return models.CharField(_("sender's clock"), max_length=9, choices=ClockNote, blank=True, default="", db_default="")


@dataclass(frozen=True)
class SenderClock:
    """A sender's clock: its skew is the difference between `sent_at` and the time of receipt."""

    received_at: datetime
    sent_at: datetime | None = None

    def time_of(self, stated: datetime | None) -> SentTime:
        """Return the stated time, corrected for a skew above TOLERANCE, or None if no candidate is plausible."""
        if stated is None:
            return SentTime(None)
        for time in self._candidates(stated):
            if time.at is not None and EARLIEST <= time.at <= self.received_at + TOLERANCE:
                return time
        return SentTime(None, ClockNote.DROPPED)

    def _candidates(self, stated: datetime) -> Iterator[SentTime]:
        """Yield the possible times, the best first: the clock may have been set between `stated` and `sent_at`."""
        if self.sent_at is None or abs(self.received_at - self.sent_at) <= TOLERANCE:
            yield SentTime(stated)
            return
        with contextlib.suppress(OverflowError):
            yield SentTime(self.received_at - (self.sent_at - stated), ClockNote.CORRECTED)
        yield SentTime(stated, ClockNote.DROPPED)  # `sent_at` is wrong


def plausible_time(moment: datetime | None) -> datetime | None:
    """Return the time, or None if it cannot come from a clock that was ever set."""
    return moment if moment is not None and EARLIEST <= moment < LATEST else None
