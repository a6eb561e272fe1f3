"""What operators do with targets: look now, silence, pause, resume; and what a changed configuration means."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from monitoring.alerts import incidents
from monitoring.clock import mark
from monitoring.models import Incident, Target
from monitoring.querysets import TargetQuerySet

# What belongs to what was asked before: a check under way, and the rows of results.
FORGOTTEN = {
    "claim": "",
    "claimed_at": None,
    "claimed_until": None,
    "attempts": 0,
    "failures_in_row": 0,
    "successes_in_row": 0,
    "slow_in_row": 0,
    "fast_in_row": 0,
    "recent": "",
}


def check_now(targets: TargetQuerySet, now: datetime) -> int:
    """Makes those that are active due. The workers look within a second."""
    return update(targets.active(), next_check_at=now)


def silence(targets: TargetQuerySet, until: datetime | None) -> int:
    """Tells nobody of their incidents until then; None ends the silence."""
    return update(targets, silenced_until=until)


def pause(targets: TargetQuerySet, actor: str) -> int:
    """Stops looking; what is open of them ends as no longer watched. The number of those that were active."""
    now = mark()
    with transaction.atomic():
        rows = Target.objects.filter(pk__in=targets.active().in_order())
        paused = rows.active().update(is_active=False, **FORGOTTEN)
        still_open = Incident.objects.open().filter(target__in=rows).select_related("target")
        incidents.resolve_incidents(list(still_open), now, is_withdrawn=True, actor=actor)
        rows.update(state=Target.State.UNKNOWN, state_since=now.at)
    return paused


def resume(targets: TargetQuerySet, now: datetime) -> int:
    return update(targets.filter(is_active=False), is_active=True, next_check_at=now)


def update(targets: TargetQuerySet, **changes: Any) -> int:
    with transaction.atomic():
        return Target.objects.filter(pk__in=targets.in_order()).update(**changes)


def changed(target: Target, actor: str) -> None:
    """After what is asked of it was changed: its results so far say nothing of the new question.

    A check under way finds its claim gone. An incident stays open until the new question is answered well.
    """
    now = mark()
    with transaction.atomic():
        row = Target.objects.filter(pk=target.pk)
        row.update(next_check_at=now.at, certificate_until=None, **FORGOTTEN)
        if not target.is_active:
            still_open = Incident.objects.open().filter(target=target.pk).select_related("target")
            incidents.resolve_incidents(list(still_open), now, is_withdrawn=True, actor=actor)
            row.update(state=Target.State.UNKNOWN, state_since=now.at)
