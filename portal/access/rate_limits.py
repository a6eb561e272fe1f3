"""Rate limits, above all on failed authentications of one address in a row.

Only failures count, and a success resets the count: a whole customer may share one address, and a valid token is never
refused because of someone else's bad one. Above the limit a failure is answered 429 and reveals nothing more.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Q, When
from django.utils import timezone

from portal.base.problems import Problem
from portal.models import AuthFailure, CountingWindow

WINDOW = timedelta(minutes=1)


def count_within(windows: type[CountingWindow], of: dict[str, Any], limit: int, length: timedelta) -> int | None:
    """Count once for the one that `of` names. Return the seconds to wait above the limit, else None."""
    now = timezone.now()
    rows = windows._default_manager
    row = rows.filter(**of)
    is_open = Q(window_started_at__gt=now - length)
    # In one statement, so that of simultaneous callers each counts, whichever begins the window.
    once_more = {
        "window_started_at": Case(When(is_open, then="window_started_at"), default=now),
        "count": Case(When(is_open, then=F("count") + 1), default=1),
    }
    if not row.update(**once_more):
        rows.bulk_create([windows(**of, window_started_at=now, count=0)], ignore_conflicts=True)
        row.update(**once_more)
    # The row is gone if a success deleted it meanwhile.
    started, count = row.values_list("window_started_at", "count").first() or (now, 0)
    return None if count <= limit else max(1, round((started + length - now).total_seconds()))


def count_failure(problem: Problem, address: str) -> Problem:
    """Count a failed authentication and return its answer: its own refusal or, above the limit, `throttled`."""
    wait = count_within(AuthFailure, {"address": address}, settings.AUTH_FAILURES_PER_MINUTE, WINDOW)
    return problem if wait is None else Problem("throttled", headers={"Retry-After": str(wait)})


def forget_failures(address: str) -> None:
    AuthFailure.objects.filter(address=address).delete()
