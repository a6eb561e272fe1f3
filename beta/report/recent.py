"""Reports and statuses as pages show them: kept for a minute, while nothing happens to what they are made of.

A page with a report is polled by every browser that shows it, and a report reads all feedback of its programme. Exports
and the API make theirs anew.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from django.core.cache import cache
from django.db.models import Max
from django.utils import timezone

from beta.models import BetaFeedback, BetaProgramme
from beta.report import status
from beta.report.status import ProgrammeStatus
from portal.models import AuditEvent

Made = TypeVar("Made")
KEPT_SECONDS = 60


def recent_statuses(programmes: Sequence[BetaProgramme], now: datetime) -> dict[int, ProgrammeStatus]:
    return keep_for_a_minute("statuses", programmes, now, lambda: status.current_statuses(programmes, now))


def keep_for_a_minute(kind: str, programmes: Sequence[BetaProgramme], now: datetime, make: Callable[[], Made]) -> Made:
    """Return what was made within the last minute, unless feedback came or an action was recorded meanwhile.

    Triage, changes of programmes and erasures are recorded; checks and the deletion of old feedback are not.
    """
    feedback = BetaFeedback.objects.aggregate(Max("pk"))["pk__max"]
    action = AuditEvent.objects.aggregate(Max("pk"))["pk__max"]
    names = [kind, timezone.localdate(now), feedback, action, *(programme.pk for programme in programmes)]
    found: Made | None = cache.get_or_set(f"beta.{'.'.join(map(str, names))}", make, KEPT_SECONDS)
    return make() if found is None else found
