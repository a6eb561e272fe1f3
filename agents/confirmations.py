"""Confirmations of actions with machines and enrolment requests."""

from __future__ import annotations

import functools
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext
from vigie_client.contract import IDENTIFIER

from agents.models import Agent, MachineToken
from agents.querysets import EnrolmentRequestQuerySet
from portal.admin.confirm import RECENT, Confirmation
from portal.base.words import format_count

# From this many machines on, their number must be typed.
MANY = 10


class UninstallForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=255, required=False)


class LicenceBindingForm(forms.Form):
    license_ref = forms.CharField(
        label=_("Licence"),
        max_length=128,
        required=False,
        validators=[RegexValidator(rf"\A(?:{IDENTIFIER})\Z", _("Not a licence."))],
        help_text=_("As the application reports it, such as LIC-2041. Leave empty to allow any licence."),
    )


def describe_recent(queryset: QuerySet[Agent]) -> str:
    """Return how many of the machines called in the last 24 hours."""
    count = queryset.filter(last_seen_at__gt=timezone.now() - RECENT).count()
    text = ngettext("%(count)s was seen in the last 24 hours.", "%(count)s were seen in the last 24 hours.", count)
    return text % {"count": format_count(count)}


def describe_user(agent: Agent) -> str:
    return agent.user_name or agent.hostname


def number_to_type(count: int) -> str:
    return str(count) if count >= MANY else ""


def describe_uninstall(model_admin: Any, request: HttpRequest, queryset: QuerySet[Agent]) -> Confirmation:
    count = queryset.count()
    lead = ngettext(
        "This marks %(count)s machine as uninstalled and revokes its tokens.",
        "This marks %(count)s machines as uninstalled and revokes their tokens.",
        count,
    )
    return Confirmation(
        title=_("Uninstall machines"),
        button=_("Uninstall"),
        consequences=[
            lead % {"count": format_count(count)},
            describe_recent(queryset),
            _("Their data is kept. An uninstalled machine can be enrolled again at any time, with an enrolment token."),
        ],
        typed=number_to_type(count),
        form=UninstallForm,
        remark=describe_user,
    )


def describe_revocation(model_admin: Any, request: HttpRequest, queryset: QuerySet[Agent]) -> Confirmation:
    count = queryset.count()
    tokens = MachineToken.objects.filter(agent__in=queryset, token__revoked_at=None)
    used = tokens.filter(token__last_used_at__gt=timezone.now() - RECENT).count()
    lead = ngettext(
        "This revokes the tokens of %(count)s machine. All its calls are refused until it is enrolled again, on site.",
        "This revokes the tokens of %(count)s machines. All their calls are refused until they are enrolled again, "
        "on site.",
        count,
    )
    recent = ngettext(
        "%(count)s token was used in the last 24 hours.", "%(count)s tokens were used in the last 24 hours.", used
    )
    return Confirmation(
        title=_("Revoke tokens of machines"),
        button=_("Revoke"),
        consequences=[
            lead % {"count": format_count(count)},
            recent % {"count": format_count(used)},
            _("A revoked token cannot be restored. To let a machine in again, allow its re-enrolment."),
        ],
        typed=number_to_type(count),
        remark=describe_user,
    )


def describe_binding(model_admin: Any, request: HttpRequest, queryset: QuerySet[Agent]) -> Confirmation:
    machines = list(queryset)
    current = {agent.license_ref for agent in machines}
    proposed = {"license_ref": current.pop() if len(current) == 1 else ""}
    lead = ngettext(
        "The portal will refuse runs of other licences from this machine. Its client keeps them and sends them again.",
        "The portal will refuse runs of other licences from these %(count)s machines. Their clients keep them and send "
        "them again.",
        len(machines),
    )
    return Confirmation(
        title=_("Bind machines to a licence"),
        button=_("Bind"),
        consequences=[
            lead % {"count": format_count(len(machines))},
            describe_recent(queryset),
            _("To undo it, bind the machines again and leave the licence empty."),
        ],
        form=functools.partial(LicenceBindingForm, initial=proposed),
        remark=lambda agent: agent.license_ref,
    )


def describe_discarding(model_admin: Any, request: HttpRequest, queryset: EnrolmentRequestQuerySet) -> Confirmation:
    count, allowed = queryset.count(), queryset.allowed(timezone.now()).count()
    lead = ngettext(
        "This deletes %(count)s request. Its machine can request enrolment again.",
        "This deletes %(count)s requests. Their machines can request enrolment again.",
        count,
    )
    ends = ngettext(
        "It also ends %(count)s approval: that machine needs another to enrol.",
        "It also ends %(count)s approvals: those machines need others to enrol.",
        allowed,
    )
    refuse = ngettext(
        "To refuse further requests, revoke the enrolment token.",
        "To refuse further requests, revoke the enrolment tokens.",
        count,
    )
    return Confirmation(
        title=ngettext("Discard enrolment request", "Discard enrolment requests", count),
        button=pgettext("request", "Discard"),
        consequences=[
            lead % {"count": format_count(count)},
            *([ends % {"count": format_count(allowed)}] if allowed else []),
            refuse,
        ],
        remark=lambda requested: requested.address,
    )
