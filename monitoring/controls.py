"""Operators' controls of targets: check now, silence, pause, resume; and the restart after a changed configuration."""

from datetime import datetime
from typing import Any

from django.db import transaction

from monitoring.alerts import incidents
from monitoring.checks.record import UNCLAIMED
from monitoring.clock import Mark, mark
from monitoring.models import Incident, Target
from monitoring.querysets import TargetQuerySet

# The claim of a check under way, and the streaks of results: they belong to the former configuration.
RESET_FIELDS = UNCLAIMED | {
    "attempts": 0,
    "failures_in_row": 0,
    "successes_in_row": 0,
    "slow_in_row": 0,
    "fast_in_row": 0,
    "recent": "",
}


def request_checks(targets: TargetQuerySet, now: datetime) -> int:
    """Make the active targets due. Workers look within a second."""
    return update_locked(targets.active(), next_check_at=now)


def silence_targets(targets: TargetQuerySet, until: datetime | None) -> int:
    """Mute messages of their incidents until then. None ends the silence."""
    return update_locked(targets, silenced_until=until)


def pause_targets(targets: TargetQuerySet, actor: str) -> int:
    """Stop checking the targets and withdraw their open incidents. Return the number of those that were active."""
    now = mark()
    with transaction.atomic():
        rows = Target.objects.filter(pk__in=targets.active().lock_keys())
        paused = rows.active().update(is_active=False, **RESET_FIELDS)
        forget_state(rows, actor, now)
    return paused


def resume_targets(targets: TargetQuerySet, now: datetime) -> int:
    return update_locked(targets.filter(is_active=False), is_active=True, next_check_at=now)


def update_locked(targets: TargetQuerySet, **changes: Any) -> int:
    with transaction.atomic():
        return Target.objects.filter(pk__in=targets.lock_keys()).update(**changes)


def restart_checks(target: Target, actor: str) -> None:
    """Forget the streaks after the configuration of the check was changed.

    A check under way loses its claim. An open incident stays until checks with the new configuration succeed.
    """
    now = mark()
    with transaction.atomic():
        row = Target.objects.filter(pk=target.pk)
        row.update(next_check_at=now.at, certificate_until=None, **RESET_FIELDS)
        if not target.is_active:
            forget_state(row, actor, now)


def forget_state(targets: TargetQuerySet, actor: str, now: Mark) -> None:
    """Withdraw the open incidents of targets that are no longer checked, and set their state to unknown."""
    incidents.resolve_incidents(Incident.objects.open().filter(target__in=targets), now, is_withdrawn=True, actor=actor)
    targets.update(state=Target.State.UNKNOWN, state_since=now.at)
