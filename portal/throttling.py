"""Failed authentications in a row, by address.

Only failures count, and a success forgets them: a whole customer may stand behind one address, and a valid token is
never kept out by somebody else's bad one. Behind the limit a failure is answered 429 and tells nothing any more.
"""

from datetime import timedelta

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from portal.api.errors import Problem
from portal.models import AuthFailure

WINDOW = timedelta(minutes=1)


def failed(address: str) -> int | None:
    """Counts one failure. The seconds to wait where the address is over the limit, else None."""
    now = timezone.now()
    row = AuthFailure.objects.filter(address=address)
    if row.filter(window_started_at__gt=now - WINDOW).update(count=F("count") + 1):
        started, count = row.values_list("window_started_at", "count").get()
        if count > settings.AUTH_FAILURES_PER_MINUTE:
            return max(1, round((started + WINDOW - now).total_seconds()))
    else:
        AuthFailure.objects.update_or_create(address=address, defaults={"window_started_at": now, "count": 1})
    return None


def refusal(problem: Problem, address: str) -> Problem:
    """What a failed authentication is answered: its own refusal or, behind the limit, throttled."""
    wait = failed(address)
    return problem if wait is None else Problem("throttled", headers={"Retry-After": str(wait)})


def succeeded(address: str) -> None:
    AuthFailure.objects.filter(address=address).delete()
