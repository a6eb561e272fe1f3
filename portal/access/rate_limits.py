"""How often something may happen in a time; above all failed authentications in a row, by address.

Of these only failures count, and a success forgets them: a whole customer may stand behind one address, and a valid
token is never kept out by somebody else's bad one. Behind the limit a failure is answered 429 and tells nothing any
more.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Q, When
from django.utils import timezone

from portal.base.problems import Problem
from portal.models import AuthFailure, CountingWindow

WINDOW = timedelta(minutes=1)


def failed(address: str) -> int | None:
    """Counts one failure. The seconds to wait where the address is over the limit, else None."""
    return counted(AuthFailure, {"address": address}, settings.AUTH_FAILURES_PER_MINUTE, WINDOW)


def counted(windows: type[CountingWindow], of: dict[str, Any], limit: int, length: timedelta) -> int | None:
    """Counts once for whom `of` names. The seconds to wait where that is over the limit, else None."""
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
    # Nothing where a success has made it forgotten meanwhile.
    started, count = row.values_list("window_started_at", "count").first() or (now, 0)
    return None if count <= limit else max(1, round((started + length - now).total_seconds()))


def refusal(problem: Problem, address: str) -> Problem:
    """What a failed authentication is answered: its own refusal or, behind the limit, throttled."""
    wait = failed(address)
    return problem if wait is None else Problem("throttled", headers={"Retry-After": str(wait)})


def succeeded(address: str) -> None:
    AuthFailure.objects.filter(address=address).delete()
