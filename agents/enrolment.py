"""A machine comes, comes back, gets a new token, goes.

Of twenty simultaneous callers one wins: a new machine's by its unique name, a known one's because enrolments of one
machine take turns (PostgreSQL locks its row, SQLite's immediate transactions exclude each other), the last use of
a token by a conditional UPDATE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from agents import approval
from agents.api.representation import describe_to
from agents.authentication import OWN_UNINSTALL, machine_of
from agents.models import Agent, MachineToken
from portal import audit
from portal.access.tokens.issuing import issue_token, revoke_token
from portal.base.problems import Problem, invalid
from portal.models import ApiToken
from portal.querysets import ApiTokenQuerySet

REPLAY_FOR = timedelta(hours=24)
OLD_TOKEN_FOR = timedelta(hours=24)
REENROLMENT_FOR = timedelta(minutes=15)
DESCRIPTIVE = ("user_name", "user_email", "user_id", "hostname", "os_info", "version")

ENROLLED, REACTIVATED, REPLAYED = "enrolled", "reactivated", "replayed"


@dataclass(frozen=True)
class Enrolled:
    """What the caller is told: how it went, and the machine's token, shown this once."""

    status: str
    agent: Agent
    api_token: str


def subject(machine_id: str) -> str:
    return f"agent:{machine_id}"


def tokens_of(agent: Agent) -> ApiTokenQuerySet:
    return ApiToken.objects.filter(machine__agent=agent)


def issue_agent_token(agent: Agent, request: HttpRequest | None = None, actor: str | None = None, **limits: Any) -> str:
    token, plain = issue_token("agent", label=agent.machine_id, request=request, actor=actor, **limits)
    MachineToken.objects.create(token=token, agent=agent)
    return plain


# --- Coming ----------------------------------------------------------------------------------------------------------


def enrol(fields: Mapping[str, Any], token: ApiToken, request: HttpRequest) -> Enrolled:
    """Enrol the machine the fields describe, with an enrolment token or with the machine's own.

    `fields`: machine_id (not needed with the machine's own token), and optionally the descriptive fields,
    allow_reactivate and enrollment_id.
    Raises Problem: machine_mismatch, token_revoked, token_exhausted, agent_already_active, reactivation_forbidden,
    approval_required. A refusal leaves no machine and uses up nothing of the token: its transaction is rolled back.
    """
    own = own_machine(token, fields.get("machine_id"))
    needs_approval = own is None and approval.is_required(fields["machine_id"], token)
    try:
        return enrol_now(fields, token, request, own, needs_approval)
    except Problem as problem:
        if problem.code == "approval_required":
            approval.note_request(fields["machine_id"], token, request)
        raise


def enrol_now(
    fields: Mapping[str, Any], token: ApiToken, request: HttpRequest, own: Agent | None, needs_approval: bool
) -> Enrolled:
    """Enrol as `enrol` does, in one transaction: of simultaneous calls for one machine, one succeeds."""
    now = timezone.now()
    with transaction.atomic():
        if own is not None:
            agent, created = own, False
        else:
            of_new = {"last_seen_at": now, **of_this_enrolment(fields, token, now), **given(fields)}
            agent, created = Agent.objects.get_or_enrol(fields["machine_id"], **of_new)
        if not created:
            agent = Agent.objects.select_for_update().get(pk=agent.pk)
        refuse_ended_meanwhile(token, now)
        status = ENROLLED if created else readmit(agent, fields, token, now)
        if status != REPLAYED and not ApiToken.objects.claim_use(token.pk):
            raise Problem("token_exhausted", subject=subject(agent.machine_id))
        if created or status == REACTIVATED:
            if needs_approval:
                approval.refuse_unapproved(agent.machine_id, token, now, subject(agent.machine_id))
            approval.close_requests(agent.machine_id)
        action = "replayed_elsewhere" if status == REPLAYED and own is None and is_elsewhere(agent, fields) else status
        agent.refresh_from_db()
        plain = issue_agent_token(agent, request)
        audit.record_event(f"agent.{action}", subject(agent.machine_id), request=request, after=given(fields))
    return Enrolled(status, agent, plain)


def own_machine(token: ApiToken | None, machine_id: str | None) -> Agent | None:
    """Return the machine whose own token this is, or None for other tokens, which must name one.

    Raises machine_mismatch for another machine than the one that the token is bound to.
    """
    own = machine_of(token)
    if own is None and machine_id is None:
        raise invalid("machine_id", "required", "This field is required.")
    if own is not None and machine_id is not None and not own.is_called(machine_id):
        raise Problem("machine_mismatch", subject=subject(own.machine_id))
    if token is not None and token.for_machine and not token.is_for_machine(machine_id or ""):
        raise Problem("machine_mismatch", subject=subject(token.for_machine))
    return own


def refuse_ended_meanwhile(token: ApiToken, now: datetime) -> None:
    """Looks at the token again once the machine is ours: an uninstallation may have come between.

    The caller was let in before its turn, and would otherwise leave an uninstalled machine with a living token.
    """
    if not ApiToken.objects.usable(now).filter(pk=token.pk).exists():
        raise Problem("token_revoked")


def provision(machine_id: str, actor: str) -> Agent:
    """The machine with this id; one never seen is enrolled by an operator's word, without a call of its own."""
    now = timezone.now()
    agent, created = Agent.objects.get_or_enrol(machine_id, enrolled_at=now, last_seen_at=now)
    if created:
        approval.close_requests(machine_id)
        audit.record_event(f"agent.{ENROLLED}", subject(machine_id), actor=actor)
    return agent


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The descriptive fields the caller sent: on a return they replace, and what is absent stays."""
    return {name: fields[name] for name in DESCRIPTIVE if fields.get(name) is not None}


def of_this_enrolment(fields: Mapping[str, Any], token: ApiToken, now: datetime) -> dict[str, Any]:
    return {"enrolled_at": now, "enrolled_with": token, "enrollment_id": fields.get("enrollment_id") or ""}


def readmit(agent: Agent, fields: Mapping[str, Any], token: ApiToken, now: datetime) -> str:
    """How a machine that is known comes back; its earlier tokens end as the case demands. Raises Problem."""
    if agent.is_active:
        return readmit_active(agent, fields, token, now)
    if token.is_exhausted:
        raise Problem("token_exhausted", subject=subject(agent.machine_id))
    if not fields.get("allow_reactivate", True):
        raise refusal("reactivation_forbidden", agent, token)
    gone = {"status": Agent.Status.ACTIVE, "uninstalled_at": None, "uninstall_reason": ""}
    enrol_anew(agent, fields, token, now, **gone)
    return REACTIVATED


def readmit_active(agent: Agent, fields: Mapping[str, Any], token: ApiToken, now: datetime) -> str:
    if machine_of(token) is not None:
        Agent.objects.filter(pk=agent.pk).update(last_seen_at=now, **given(fields))
        outdate(token, now)
        drop_unused(agent, token)
        return REPLAYED
    if is_replay(agent, fields, token, now):
        revoke_token(tokens_of(agent), "replayed")
        return REPLAYED
    if token.is_exhausted:
        raise Problem("token_exhausted", subject=subject(agent.machine_id))
    if not agent.may_reenrol(now):
        raise refusal("agent_already_active", agent, token)
    revoke_token(tokens_of(agent), "reenrolled")
    enrol_anew(agent, fields, token, now, reenrolment_until=None)
    return ENROLLED


def refusal(code: str, agent: Agent, token: ApiToken) -> Problem:
    return Problem(code, extra={"agent": describe_to(token, agent)}, subject=subject(agent.machine_id))


def enrol_anew(agent: Agent, fields: Mapping[str, Any], token: ApiToken, now: datetime, **more: Any) -> None:
    changes = {**of_this_enrolment(fields, token, now), **given(fields), "last_seen_at": now}
    Agent.objects.filter(pk=agent.pk).update(**changes, **more)


def is_replay(agent: Agent, fields: Mapping[str, Any], token: ApiToken, now: datetime) -> bool:
    """Whether this is an enrolment whose answer was lost: the installer never got the token, so nobody ever used it."""
    enrollment_id = fields.get("enrollment_id") or ""
    return (
        enrollment_id != ""
        and enrollment_id == agent.enrollment_id
        and agent.enrolled_with_id == token.pk
        and now - agent.enrolled_at <= REPLAY_FOR
        and not tokens_of(agent).filter(last_used_at__gte=agent.enrolled_at).exists()
    )


def is_elsewhere(agent: Agent, fields: Mapping[str, Any]) -> bool:
    """Whether a lost answer is asked for under another host name: a copied disk takes its enrollment_id along."""
    return bool(agent.hostname and fields.get("hostname") not in (None, "", agent.hostname))


# --- A new token -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotated:
    api_token: str
    previous_valid_until: datetime


def rotate(agent: Agent, token: ApiToken, request: HttpRequest) -> Rotated:
    """A second token for the machine; the one that asked stays valid 24 hours, or as long as it would have anyway.

    Raises token_revoked where the machine was uninstalled in between.
    """
    now = timezone.now()
    with transaction.atomic():
        agent = Agent.objects.select_for_update().get(pk=agent.pk)
        refuse_ended_meanwhile(token, now)
        until = outdate(token, now)
        drop_unused(agent, token)
        plain = issue_agent_token(agent, request)
        audit.record_event("agent.token_rotated", subject(agent.machine_id), request=request)
    return Rotated(plain, until)


def outdate(token: ApiToken, now: datetime) -> datetime:
    until = min(token.expires_at or now + OLD_TOKEN_FOR, now + OLD_TOKEN_FOR)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=until)
    return until


def drop_unused(agent: Agent, but: ApiToken) -> None:
    """Ends tokens that were issued and never used: their answers were lost on the way, and they would live for ever."""
    revoke_token(tokens_of(agent).filter(last_used_at=None).exclude(pk=but.pk), "superseded")


def allow_reenrolment(agent: Agent, request: HttpRequest) -> datetime:
    """Lets the active machine enrol once more within 15 minutes; until when, is returned."""
    until = timezone.now() + REENROLMENT_FOR
    with transaction.atomic():
        Agent.objects.active().filter(pk=agent.pk).update(reenrolment_until=until)
        audit.record_event("agent.reenrolment_allowed", subject(agent.machine_id), request=request)
    return until


def bind_to_licence(agent: Agent, license_ref: str, request: HttpRequest) -> bool:
    """Let the machine report runs of this licence alone, or of any if it is empty. False if nothing has changed."""
    with transaction.atomic():
        changed = Agent.objects.filter(pk=agent.pk).exclude(license_ref=license_ref).update(license_ref=license_ref)
        if changed:
            before, after = {"license_ref": agent.license_ref}, {"license_ref": license_ref}
            audit.record_event("agent.bound", subject(agent.machine_id), request=request, before=before, after=after)
    return bool(changed)


# --- Going -----------------------------------------------------------------------------------------------------------


def find(machine_id: str | None, token: ApiToken | None) -> Agent:
    """The machine a caller means; its own token needs no name. Raises machine_mismatch and agent_unknown."""
    agent = own_machine(token, machine_id) or Agent.objects.named(machine_id or "").first()
    if agent is None:
        raise Problem("agent_unknown", subject=subject(machine_id or ""))
    return agent


def uninstall(machine_id: str | None, reason: str, token: ApiToken | None, request: HttpRequest | None) -> Agent:
    """Uninstall the machine the caller means; repeated, it changes nothing. Raises as `find` does."""
    return mark_uninstalled(find(machine_id, token), reason, token, request)


def mark_uninstalled(agent: Agent, reason: str, token: ApiToken | None, request: HttpRequest | None) -> Agent:
    now = timezone.now()
    with transaction.atomic():
        if Agent.objects.claim_uninstall(agent.pk, now, reason):
            if agent.owns_name:
                Agent.objects.pass_name_on(agent)
            if token is not None and machine_of(token) is not None:
                revoke_token(ApiToken.objects.filter(pk=token.pk), OWN_UNINSTALL, request=request)
            revoke_token(tokens_of(agent), "uninstalled", request=request)
            audit.record_event(
                "agent.uninstalled", subject(agent.machine_id), request=request, after={"reason": reason}
            )
        agent.refresh_from_db()
    return agent
