"""Enrolments that need an operator's approval, since an installer must not take over a machine that others rely on.

Apps declare in their `approval.py` which machines they rely on. An approval is valid for one token and 15 minutes, and
for one enrolment.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from agents.models import EnrolmentRequest
from portal import audit
from portal.base.conventions import Collected
from portal.base.problems import Problem
from portal.models import ApiToken

ALWAYS, NEVER = "always", "never"
ALLOWED_FOR = timedelta(minutes=15)
KEPT_FOR = timedelta(days=7)
# A token that floods us with machine ids evicts only its own requests.
MOST_PER_TOKEN = 50

# Predicates of apps: each returns True if the app relies on the machine of this id, enrolled or not.
relied_on: Collected[Callable[[str], bool]] = Collected("approval")


def is_required(machine_id: str, token: ApiToken) -> bool:
    """Return True if enrolling the machine with this token needs an approval.

    The caller ignores the answer for active machines. Reads the upload area, so call it outside of transactions.
    """
    if token.is_for_machine(machine_id) or settings.ENROLMENT_APPROVAL == NEVER:
        return False
    return settings.ENROLMENT_APPROVAL == ALWAYS or any(relies(machine_id) for relies in relied_on.all())


def require_approval(machine_id: str, token: ApiToken, now: datetime, subject: str) -> None:
    """Raise approval_required if no operator allowed this enrolment. Call it within the enrolment's transaction."""
    if not EnrolmentRequest.objects.of(machine_id).allowed(now).filter(token=token).exists():
        raise Problem("approval_required", subject=subject)


def delete_requests(machine_id: str) -> None:
    """Delete the requests and approvals of a machine that is enrolled now."""
    EnrolmentRequest.objects.of(machine_id).delete()


def save_request(machine_id: str, token: ApiToken, request: HttpRequest) -> None:
    """Store the request for an operator. Repeated requests update one row."""
    now, address = timezone.now(), request.META.get("REMOTE_ADDR", "")
    latest = {"last_asked_at": now, "address": address}
    first = {"machine_id": machine_id, "asked_at": now, **latest}
    with transaction.atomic():
        _row, created = EnrolmentRequest.objects.update_or_create(
            name=machine_id.lower(), token=token, defaults=latest, create_defaults=first
        )
        if created:
            waiting = EnrolmentRequest.objects.waiting(now).filter(token=token).order_by("-last_asked_at", "-pk")
            extra = list(waiting.values_list("pk", flat=True)[MOST_PER_TOKEN:])
            EnrolmentRequest.objects.filter(pk__in=extra).delete()


def allow_enrolment(enrolment_request: EnrolmentRequest, subject: str, request: HttpRequest) -> datetime:
    """Allow the enrolment for 15 minutes, and return the deadline."""
    until = timezone.now() + ALLOWED_FOR
    with transaction.atomic():
        EnrolmentRequest.objects.filter(pk=enrolment_request.pk).update(allowed_until=until)
        after = {"token": enrolment_request.token.key}
        audit.record_event("agent.enrolment_allowed", subject, request=request, after=after)
    return until
