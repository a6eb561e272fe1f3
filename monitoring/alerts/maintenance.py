"""Maintenance windows that are active at a moment, and the targets they cover."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from monitoring.models import MaintenanceWindow
from monitoring.models.figures import wall_clock

REPEAT_INTERVALS = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class MaintenanceScope:
    """The targets under maintenance. `everything` is set by a window that names no target."""

    everything: bool = False
    targets: frozenset[int] = frozenset()

    def includes(self, target: int | None) -> bool:
        return self.everything or target in self.targets


def is_window_active(window: MaintenanceWindow, now: datetime) -> bool:
    return active_since(window, now) is not None


def active_since(window: MaintenanceWindow, now: datetime) -> datetime | None:
    """Return the start of the occurrence that is active at this moment, None if none is.

    A repeating window starts and ends at the same wall-clock times. A fixed number of hours after its start would be
    another time of day in the nights when clocks change.
    """
    if not window.repeats:
        return window.starts_at if window.starts_at <= now < window.ends_at else None
    if now < window.starts_at:
        return None
    every = REPEAT_INTERVALS[window.repeats]
    start, end = window.wall_clock
    passed = (wall_clock(now) - start) // every
    # When clocks go back, the wall clock may show a time before the start of the current occurrence.
    shifts = [every * count for count in (passed, passed + 1)]
    occurrences = [(first_instant_from(start + shift), first_instant(end + shift)) for shift in shifts]
    return next((begins for begins, ends in occurrences if begins <= now < ends), None)


def first_instant(naive: datetime) -> datetime:
    """Return the instant of a wall-clock time, the first one if the time occurs twice."""
    return timezone.make_aware(naive, timezone.get_default_timezone()).astimezone(UTC)


def first_instant_from(naive: datetime) -> datetime:
    """Return when the clock first shows this time or a later one: the jump, if the clock skips the time."""
    moment = first_instant(naive)
    while wall_clock(moment - MINUTE) >= naive:
        moment -= MINUTE
    return moment


def active_maintenance(now: datetime) -> MaintenanceScope:
    """Return what is under maintenance now. Takes one query, with a row for each window and target."""
    windows: Any = MaintenanceWindow.objects.relevant(now).order_by().only("starts_at", "ends_at", "repeats")
    named = list(windows.annotate(covered=F("targets")))
    each = {window.pk: window for window in named}
    active = {pk for pk, window in each.items() if is_window_active(window, now)}
    covered = {window.covered for window in named if window.pk in active}
    return MaintenanceScope(everything=None in covered, targets=frozenset(covered - {None}))
