"""The audit trail: every operator action, token event, enrolment and refusal."""

import hashlib
import json
import logging
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from portal.base import disks
from portal.base.addresses import sender_network
from portal.models import ApiToken, AuditEvent

log = logging.getLogger("vigie.audit")

# The text of each action. Apps add those of their own.
EVENT_TEXTS: dict[str, str | Promise] = {
    "token.issued": gettext_lazy("Issued"),
    "token.revoked": gettext_lazy("Revoked"),
    "user.logged_in": gettext_lazy("Signed in"),
    "user.logged_out": gettext_lazy("Signed out"),
    "user.sessions_ended": gettext_lazy("Sessions ended"),
    "user.password_changed": gettext_lazy("Password changed"),
    "user.factor_added": gettext_lazy("Second factor added"),
    "user.factor_removed": gettext_lazy("Second factor removed"),
    "user.second_factor_reset": gettext_lazy("Second factors reset on the command line"),
    "user.recovery_codes_generated": gettext_lazy("Recovery codes generated"),
    "user.recovery_code_used": gettext_lazy("Signed in with a recovery code"),
    "user.added": gettext_lazy("User added"),
    "user.changed": gettext_lazy("User changed"),
    "user.deleted": gettext_lazy("User deleted"),
    "user.invited": gettext_lazy("Invited"),
    "user.invited_again": gettext_lazy("Invited again"),
    "user.invitation_withdrawn": gettext_lazy("Invitation withdrawn"),
    "user.invitation_accepted": gettext_lazy("Invitation accepted"),
    "user.created_by_single_sign_on": gettext_lazy("User created by single sign-on"),
    "user.linked_to_single_sign_on": gettext_lazy("Linked to single sign-on"),
    "user.roles_claimed": gettext_lazy("Roles set by single sign-on"),
    "group.added": gettext_lazy("Group added"),
    "group.changed": gettext_lazy("Group changed"),
    "group.deleted": gettext_lazy("Group deleted"),
    "channel.added": gettext_lazy("Channel added"),
    "channel.changed": gettext_lazy("Channel changed"),
    "channel.deleted": gettext_lazy("Channel deleted"),
    "channel.activated": gettext_lazy("Channel switched on"),
    "channel.deactivated": gettext_lazy("Channel switched off"),
    "channel.tested": gettext_lazy("Test sent"),
    "channel.disabled": gettext_lazy("Channel disabled after a failure"),
    "channel.enabled": gettext_lazy("Channel enabled again"),
    "admin.action": gettext_lazy("Action in the admin"),
    "privacy.exported": gettext_lazy("Exported: all that is held about a person or a machine"),
    "privacy.erasure_asked": gettext_lazy("Erasure of a person or a machine requested"),
    "privacy.erased": gettext_lazy("Erased: a pseudonym stands in place of a person or a machine"),
    "refused.login": gettext_lazy("Refused: wrong user name or password"),
    "refused.second_factor": gettext_lazy("Refused: wrong second factor"),
    "refused.not_authenticated": gettext_lazy("Refused: no token was shown"),
    "refused.invalid_token": gettext_lazy("Refused: the token is not valid"),
    "refused.token_expired": gettext_lazy("Refused: the token has expired"),
    "refused.token_revoked": gettext_lazy("Refused: the token was revoked"),
    "refused.token_exhausted": gettext_lazy("Refused: the token has no uses left"),
    "refused.insufficient_scope": gettext_lazy("Refused: the token may not do that"),
    "refused.permission_denied": gettext_lazy("Refused: the permission is missing"),
    "refused.machine_mismatch": gettext_lazy("Refused: another machine’s business"),
    "refused.app_mismatch": gettext_lazy("Refused: the token is bound to other applications"),
    "refused.licence_mismatch": gettext_lazy("Refused: the machine is bound to another licence"),
    "refused.throttled": gettext_lazy("Refused: too many failed authentications"),
    "refused.single_sign_on": gettext_lazy("Refused: single sign-on"),
}


def user_subject(user: Any) -> str:
    """Return the name of a user in the trail, as subject or actor."""
    return f"user:{user.get_username()}"


def request_actor(request: HttpRequest | None) -> str:
    """Return a request's actor: `agent:KEY`, `client:LABEL`, `user:NAME` or `anonymous`; `system` without a request."""
    if request is None:
        return "system"
    token: ApiToken | None = getattr(request, "api_token", None)
    if token is not None and token.kind != ApiToken.Kind.STAFF:
        return token.bearer
    user = token.user if token is not None else getattr(request, "user", None)
    return user_subject(user) if user is not None and user.is_authenticated else "anonymous"


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
        actor=actor or request_actor(request),
        action=action,
        subject=subject,
        before=before,
        after=after,
        address=request.META.get("REMOTE_ADDR", "") if request else "",
    )


def record_refusal(request: HttpRequest, code: str, subject: str = "") -> None:
    """A refusal is answered even where it cannot be noted."""
    try:
        record_hourly(f"refused.{code}", subject, request=request)
    except DatabaseError as error:
        log.error("a refusal could not be noted: %s", disks.describe_error(error))


def record_hourly(
    action: str, subject: str, *, request: HttpRequest | None, before: Any = None, after: Any = None
) -> None:
    """One row for all that is the same within an hour, with a count: a looping client must not fill the table.

    A sender of IPv6 is one by its network, or each request would make a row. Without a request nothing says who it was.
    """
    now = timezone.now()
    event = {
        "actor": request_actor(request),
        "action": action,
        "subject": subject,
        "address": sender_network(request.META.get("REMOTE_ADDR", "")) if request else "",
        "before": before,
        "after": after,
    }
    key = json.dumps([event, f"{now:%Y%m%d%H}"], sort_keys=True)
    AuditEvent.objects.count_up(hashlib.sha256(key.encode()).hexdigest(), now, event)
