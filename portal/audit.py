"""The audit trail: every operator action, token event, enrolment and refusal."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, pgettext_lazy

from portal.base import disks
from portal.base.addresses import sender_network
from portal.models import ApiToken, AuditEvent

log = logging.getLogger("vigie.audit")

# Recorded in place of a secret that was changed.
HIDDEN = "•••"


@dataclass(frozen=True)
class SubjectKind:
    """The rows that a prefix of subjects and actors names. `find` returns the filters for what follows the prefix.

    With `is_key`, a number or key follows the prefix, and people know the row by another name. `find` then returns one
    filter, by equality, and `columns` are those that the name is made of.
    """

    model: str
    find: Callable[[str], dict[str, Any]]
    is_key: bool = False
    columns: tuple[str, ...] = ()


def by_number(text: str) -> dict[str, Any]:
    return {"pk": int(text) if text.isdecimal() and len(text) < 19 else None}


# The kinds of subjects and actors. Apps add those of their own.
SUBJECTS: dict[str, SubjectKind] = {
    "user": SubjectKind("auth.user", lambda name: {"username": name}),
    "group": SubjectKind("auth.group", lambda name: {"name": name}),
    "token": SubjectKind("portal.apitoken", lambda key: {"key": key}, is_key=True, columns=("kind", "label", "key")),
    "client": SubjectKind("portal.apitoken", lambda label: {"kind": "client", "label": label}),
    "enroll": SubjectKind("portal.apitoken", lambda label: {"kind": "enroll", "label": label}),
    "channel": SubjectKind(
        "portal.notificationchannel",
        lambda key: by_number(key) if key.isdecimal() else {"environment_key": key},
        is_key=True,
        columns=("name",),
    ),
}

# Actors that are no rows.
ACTORS: dict[str, Promise] = {
    "system": pgettext_lazy("actor", "system"),
    "anonymous": pgettext_lazy("actor", "anonymous"),
    "command line": pgettext_lazy("actor", "command line"),
}

# The names of recorded values that are no fields of their subject. Apps add those of their own.
VALUE_NAMES: dict[str, str | Promise] = {
    "reason": gettext_lazy("Reason"),
    "until": gettext_lazy("Until"),
    "tokens": gettext_lazy("Tokens"),
    "token": gettext_lazy("Token"),
    "sessions": gettext_lazy("Sessions"),
    "format": gettext_lazy("Format"),
    "factor": gettext_lazy("Factor"),
    "fields": gettext_lazy("Fields"),
    "name": gettext_lazy("Name"),
    "rows": gettext_lazy("Rows"),
    "data": gettext_lazy("Data"),
    "created": pgettext_lazy("rows", "Created"),
    "updated": pgettext_lazy("rows", "Updated"),
    "changed": pgettext_lazy("rows", "Changed"),
    "unchanged": pgettext_lazy("rows", "Unchanged"),
    "finding": pgettext_lazy("noun", "Issue"),
    "comment": gettext_lazy("Comment"),
    "assignee": gettext_lazy("Assigned to"),
}

# The text of each action. Apps add those of their own.
EVENT_TEXTS: dict[str, str | Promise] = {
    "token.issued": gettext_lazy("Issued"),
    "token.revoked": gettext_lazy("Revoked"),
    "operator.created": gettext_lazy("First operator created"),
    "system.checked": gettext_lazy("Connections checked"),
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
    "user.invited_again": gettext_lazy("Invitation sent again"),
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
    "channel.activated": gettext_lazy("Channel enabled"),
    "channel.deactivated": gettext_lazy("Channel disabled"),
    "channel.tested": gettext_lazy("Test sent"),
    "channel.chats_listed": gettext_lazy("Telegram chats listed"),
    "channel.disabled": gettext_lazy("Channel disabled after a failure"),
    "channel.enabled": gettext_lazy("Channel re-enabled"),
    "portal.restored": gettext_lazy("Portal restored from a backup"),
    "portal.imported": gettext_lazy("Data of an older tool imported"),
    "admin.action": gettext_lazy("Admin action"),
    "privacy.exported": gettext_lazy("Personal data exported"),
    "privacy.erasure_asked": gettext_lazy("Erasure of personal data requested"),
    "privacy.erased": gettext_lazy("Personal data erased"),
    "refused.login": gettext_lazy("Denied: wrong user name or password"),
    "refused.second_factor": gettext_lazy("Denied: wrong second factor"),
    "refused.not_authenticated": gettext_lazy("Denied: no token"),
    "refused.invalid_token": gettext_lazy("Denied: invalid token"),
    "refused.token_expired": gettext_lazy("Denied: token expired"),
    "refused.token_revoked": gettext_lazy("Denied: token revoked"),
    "refused.token_exhausted": gettext_lazy("Denied: token used up"),
    "refused.insufficient_scope": gettext_lazy("Denied: the token lacks the permission"),
    "refused.permission_denied": gettext_lazy("Denied: missing permission"),
    "refused.machine_mismatch": gettext_lazy("Denied: belongs to another machine"),
    "refused.app_mismatch": gettext_lazy("Denied: the token is bound to other applications"),
    "refused.licence_mismatch": gettext_lazy("Denied: the machine is bound to another licence"),
    "refused.throttled": gettext_lazy("Denied: too many failed authentications"),
    "refused.single_sign_on": gettext_lazy("Denied: single sign-on"),
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
    """Record one event, in the transaction of the act. The request remembers it: one act is not recorded twice."""
    now = timezone.now()
    if request is not None:
        request.recorded_events = recorded_events(request) + 1  # type: ignore[attr-defined]
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


def recorded_events(request: HttpRequest) -> int:
    """Return the number of events that were recorded for the request."""
    return getattr(request, "recorded_events", 0)


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
