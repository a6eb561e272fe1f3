"""A limit on calls to other servers that users ask for and wait for."""

from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy

from portal import audit
from portal.models import AuditEvent

CALLS_PER_MINUTE = 10
TOO_MANY = gettext_lazy("Too many tests. Wait a minute, then try again.")


def count_calls_left(request: HttpRequest, *actions: str) -> int:
    """Return how many calls the user may make now, of those that the audit log records as these actions."""
    since = timezone.now() - timedelta(minutes=1)
    calls = AuditEvent.objects.filter(action__in=actions, actor=audit.request_actor(request))
    return max(0, CALLS_PER_MINUTE - calls.filter(at__gt=since).count())
