"""The audit trail: every operator action, token event, enrolment and refusal."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone

from portal.base import disks
from portal.base.addresses import network_of
from portal.models import ApiToken, AuditEvent

log = logging.getLogger("vigie.audit")


def subject_of(user: Any) -> str:
    """Return the name of a user in the trail, as subject or actor."""
    return f"user:{user.get_username()}"


def actor_of(request: HttpRequest | None) -> str:
    """Who stands behind a request: `agent:KEY`, `client:LABEL`, `user:NAME`, `anonymous`; without one, `system`."""
    if request is None:
        return "system"
    token: ApiToken | None = getattr(request, "api_token", None)
    if token is not None and token.kind != ApiToken.Kind.STAFF:
        return token.bearer
    user = token.user if token is not None else getattr(request, "user", None)
    return subject_of(user) if user is not None and user.is_authenticated else "anonymous"


def record_event(
    action: str,
    subject: str = "",
    *,
    request: HttpRequest | None = None,
    actor: str | None = None,
    before: Any = None,
    after: Any = None,
) -> None:
    """One event, in the transaction of what it tells of."""
    now = timezone.now()
    AuditEvent.objects.create(
        at=now,
        last_at=now,
        actor=actor or actor_of(request),
        action=action,
        subject=subject,
        before=before,
        after=after,
        address=request.META.get("REMOTE_ADDR", "") if request else "",
    )


def record_refusal(request: HttpRequest, code: str, subject: str = "") -> None:
    """A refusal is answered even where it cannot be noted."""
    try:
        hourly(f"refused.{code}", subject, request=request)
    except DatabaseError as error:
        log.error("a refusal could not be noted: %s", disks.trouble(error))


def hourly(action: str, subject: str, *, request: HttpRequest | None, before: Any = None, after: Any = None) -> None:
    """One row for all that is the same within an hour, with a count: a looping client must not fill the table.

    A sender of IPv6 is one by its network, or each request would make a row. Without a request nothing says who it was.
    """
    now = timezone.now()
    event = {
        "actor": actor_of(request),
        "action": action,
        "subject": subject,
        "address": network_of(request.META.get("REMOTE_ADDR", "")) if request else "",
        "before": before,
        "after": after,
    }
    key = json.dumps([event, f"{now:%Y%m%d%H}"], sort_keys=True)
    AuditEvent.objects.count_up(hashlib.sha256(key.encode()).hexdigest(), now, event)
