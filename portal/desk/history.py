"""The audit trail as sentences, for the page of what it tells of."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.desk.panels import Section
from portal.models import AuditEvent

SHOWN = 50

# Apps add the sentences of their own actions.
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


def describe_event(event: AuditEvent) -> str:
    """What happened, in words; an action nobody wrote a sentence for is shown by its name."""
    text = str(EVENT_TEXTS.get(event.action, event.action))
    return text if event.count == 1 else _("%(sentence)s (%(count)s times)") % {"sentence": text, "count": event.count}


def describe_changes(event: AuditEvent) -> str:
    """`version: 1.4.2 → 1.4.3, reason: replaced`."""
    before, after = (value if isinstance(value, dict) else {} for value in (event.before, event.after))
    told = ((name, before.get(name), value) for name, value in after.items())
    return ", ".join(f"{name}: {describe_change(was, value)}" for name, was, value in told if value != "" or was)


def describe_change(before: Any, after: Any) -> str:
    if before in (None, ""):
        return f"{after}"
    return f"{before} → {'–' if after in (None, '') else after}"


def history_of(subject: str) -> Section:
    """The newest events whose subject this is."""
    events = AuditEvent.objects.filter(subject=subject).order_by("-id")[:SHOWN]
    return Section(
        title=_("History"),
        columns=[_("When"), _("What"), _("Details"), _("Who"), _("From")],
        rows=[
            [event.last_at, describe_event(event), describe_changes(event), event.actor, event.address]
            for event in events
        ],
        url=reverse("admin:portal_auditevent_changelist", query={"q": subject}),
        empty=_("Nothing is on record."),
    )
