"""Times of runs, events and feedback: one rule for all, since a sender's clock may be wrong.

A wrong clock never refuses an item. A time that cannot be right is dropped, and the item counts when it was received.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import models
from django.utils.translation import gettext_lazy as _

# Clocks that differ by less are taken as equal.
TOLERANCE = timedelta(minutes=5)
# No client existed before: an earlier time is that of a clock which was never set.
EARLIEST, LATEST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class ClockNote(models.TextChoices):
    """The treatment of a time that was sent; empty where it is kept as sent."""

    CORRECTED = "corrected", _("time corrected")
    DROPPED = "dropped", _("time dropped")


class SentTime(NamedTuple):
    """The time to keep of one that was sent: None where none was sent, or where it was dropped."""

    at: datetime | None
    note: str = ""


def clock_field() -> models.CharField[str, str]:
    """The column that keeps a ClockNote."""
    return models.CharField(_("sender's clock"), max_length=9, choices=ClockNote, blank=True, default="", db_default="")


@dataclass(frozen=True)
class SenderClock:
    """A sender's clock, as `sent_at` of a call shows it against the portal's."""

    received_at: datetime
    sent_at: datetime | None = None

    def time_of(self, stated: datetime | None) -> SentTime:
        """The stated time, corrected by the clock's skew where that is more than TOLERANCE."""
        if stated is None:
            return SentTime(None)
        for time in self._readings(stated):
            if time.at is not None and EARLIEST <= time.at <= self.received_at + TOLERANCE:
                return time
        return SentTime(None, ClockNote.DROPPED)

    def _readings(self, stated: datetime) -> Iterator[SentTime]:
        """Both ways to read a time, the better one first: a clock may have been right when it was stated."""
        if self.sent_at is None or abs(self.received_at - self.sent_at) <= TOLERANCE:
            yield SentTime(stated)
            return
        with contextlib.suppress(OverflowError):
            yield SentTime(self.received_at - (self.sent_at - stated), ClockNote.CORRECTED)
        yield SentTime(stated, ClockNote.DROPPED)  # it is sent_at that cannot be right


def plausible(moment: datetime | None) -> datetime | None:
    """The moment, or None where no clock that was ever set shows it."""
    return moment if moment is not None and EARLIEST <= moment < LATEST else None
