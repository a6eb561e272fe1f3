"""Whether a maintenance window covers a moment, and of which targets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from monitoring.models import MaintenanceWindow
from monitoring.models.figures import wall_clock

EVERY = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Covered:
    """The targets that maintenance covers; `everything` where a window names none."""

    everything: bool = False
    targets: frozenset[int] = frozenset()

    def includes(self, target: int | None) -> bool:
        return self.everything or target in self.targets


def covers(window: MaintenanceWindow, now: datetime) -> bool:
    """Return whether it lasts at this moment.

    One that repeats starts and ends at the same wall-clock times each time. A number of hours after its start would be
    another time of day in the nights when clocks change.
    """
    if not window.repeats:
        return window.starts_at <= now < window.ends_at
    if now < window.starts_at:
        return False
    every = EVERY[window.repeats]
    start, end = window.wall_clock
    passed = (wall_clock(now) - start) // every
    # A clock that is set back shows a time before the occurrence that lasts.
    shifts = [every * count for count in (passed, passed + 1)]
    return any(first_moment(start + shift) <= now < instant(end + shift) for shift in shifts)


def instant(naive: datetime) -> datetime:
    """The instant of a wall-clock time. Of one that comes twice in a night, the first."""
    return timezone.make_aware(naive, timezone.get_default_timezone()).astimezone(UTC)


def first_moment(naive: datetime) -> datetime:
    """The instant from which the clock shows this time or a later one: where it skips the time, that of the jump."""
    moment = instant(naive)
    while wall_clock(moment - MINUTE) >= naive:
        moment -= MINUTE
    return moment


def covering(now: datetime) -> Covered:
    """What is under maintenance now; two queries at most."""
    windows = [window for window in MaintenanceWindow.objects.relevant(now) if covers(window, now)]
    if not windows:
        return Covered()
    named = set(
        MaintenanceWindow.targets.through.objects.filter(maintenancewindow__in=windows).values_list(
            "maintenancewindow_id", "target_id"
        )
    )
    with_targets = {window for window, _target in named}
    return Covered(
        everything=any(window.pk not in with_targets for window in windows),
        targets=frozenset(target for _window, target in named),
    )
