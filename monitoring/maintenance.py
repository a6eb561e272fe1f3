"""Whether a maintenance window covers a moment, and of which targets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from monitoring.models import MaintenanceWindow

EVERY = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}


@dataclass(frozen=True)
class Covered:
    """The targets that maintenance covers; `everything` where a window names none."""

    everything: bool = False
    targets: frozenset[int] = frozenset()

    def includes(self, target: int | None) -> bool:
        return self.everything or target in self.targets


def covers(window: MaintenanceWindow, now: datetime) -> bool:
    """From its start to before its end, and as often as it repeats: at the same time of day, whatever the clocks do."""
    if not window.repeats:
        return window.starts_at <= now < window.ends_at
    if now < window.starts_at:
        return False
    start = latest_start(window, now)
    return now < start + (window.ends_at - window.starts_at)


def latest_start(window: MaintenanceWindow, now: datetime) -> datetime:
    """When the latest occurrence of one that repeats began."""
    every = EVERY[window.repeats]
    first = timezone.localtime(window.starts_at).replace(tzinfo=None)
    steps = (timezone.localtime(now).replace(tzinfo=None) - first) // every + 1
    while True:
        start = timezone.make_aware(first + steps * every)
        if start <= now:
            return start
        steps -= 1


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
