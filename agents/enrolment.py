"""Enrol, re-enrol and uninstall machines, and rotate their tokens.

Of simultaneous callers exactly one succeeds. For a new machine the unique name decides, for a known one the lock on its
row (on SQLite the immediate transaction), and for the last use of a token a conditional UPDATE.
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
from agents.api.representation import describe_agent_for
from agents.authentication import OWN_UNINSTALL, machine_of
from agents.models import Agent, MachineToken
from portal import audit
from portal.access.tokens.issuing import issue_token, revoke_token
from portal.base.problems import Problem, invalid_field
from portal.models import ApiToken
from portal.querysets import ApiTokenQuerySet

REPLAY_FOR = timedelta(hours=24)
OLD_TOKEN_FOR = timedelta(hours=24)
REENROLMENT_FOR = timedelta(minutes=15)
DESCRIPTION_FIELDS = ("user_name", "user_email", "user_id", "hostname", "os_info", "version")

ENROLLED, REACTIVATED, REPLAYED = "enrolled", "reactivated", "replayed"


@dataclass(frozen=True)
class EnrolmentResult:
    """The result of an enrolment, with the machine's new token, which cannot be shown again."""

    status: str
    agent: Agent
    api_token: str


def machine_subject(machine_id: str) -> str:
    return f"agent:{machine_id}"


def tokens_of(agent: Agent) -> ApiTokenQuerySet:
    return ApiToken.objects.filter(machine__agent=agent)


def issue_agent_token(
    agent: Agent, request: HttpRequest | None = None, actor: str | None = None, expires_at: datetime | None = None
) -> str:
    token, plain = issue_token("agent", label=agent.machine_id, request=request, actor=actor, expires_at=expires_at)
    MachineToken.objects.create(token=token, agent=agent)
    return plain


# --- Enrolment -------------------------------------------------------------------------------------------------------


def enrol_machine(fields: Mapping[str, Any], token: ApiToken, request: HttpRequest) -> EnrolmentResult:
    """Enrol the machine that the fields describe, with an enrolment token or with the machine's own.

    `fields` holds machine_id (optional with the machine's own token), and optionally the description, allow_reactivate
    and enrollment_id.
    Raises Problem: machine_mismatch, token_revoked, token_exhausted, agent_already_active, reactivation_forbidden,
    approval_required. A refusal rolls back everything, including the use of the token.
    """
    own = own_machine(token, fields.get("machine_id"))
    needs_approval = own is None and approval.is_required(fields["machine_id"], token)
    try:
        return enrol_or_readmit(fields, token, request, own, needs_approval)
    except Problem as problem:
        if problem.code == "approval_required":
            approval.save_request(fields["machine_id"], token, request)
        raise


def enrol_or_readmit(
    fields: Mapping[str, Any], token: ApiToken, request: HttpRequest, own: Agent | None, needs_approval: bool
) -> EnrolmentResult:
    now = timezone.now()
    with transaction.atomic():
        if own is not None:
            agent, created = own, False
        else:
            agent, created = Agent.objects.get_or_enrol(fields["machine_id"], **enrolment_values(fields, token, now))
        if not created:
            agent = Agent.objects.select_for_update().get(pk=agent.pk)
        recheck_token(token, now)
        status = ENROLLED if created else readmit(agent, fields, token, now)
        if status != REPLAYED and not ApiToken.objects.claim_use(token.pk):
            raise Problem("token_exhausted", subject=machine_subject(agent.machine_id))
        if created or status == REACTIVATED:
            if needs_approval:
                approval.require_approval(agent.machine_id, token, now, machine_subject(agent.machine_id))
            approval.delete_requests(agent.machine_id)
        is_elsewhere = status == REPLAYED and own is None and has_other_hostname(agent, fields)
        action = "agent.replayed_elsewhere" if is_elsewhere else f"agent.{status}"
        agent.refresh_from_db()
        plain = issue_agent_token(agent, request)
        audit.record_event(action, machine_subject(agent.machine_id), request=request, after=sent_description(fields))
    return EnrolmentResult(status, agent, plain)


def own_machine(token: ApiToken | None, machine_id: str | None) -> Agent | None:
    """Return the machine whose own token this is, or None for other tokens, which must name one.

    Raises machine_mismatch for another machine than the one that the token is bound to.
    """
    own = machine_of(token)
    if own is None and machine_id is None:
        raise invalid_field("machine_id", "required", "This field is required.")
    if own is not None and machine_id is not None and not own.is_called(machine_id):
        raise Problem("machine_mismatch", subject=machine_subject(own.machine_id))
    if token is not None and token.for_machine and not token.is_for_machine(machine_id or ""):
        raise Problem("machine_mismatch", subject=machine_subject(token.for_machine))
    return own


def recheck_token(token: ApiToken, now: datetime) -> None:
    """Raise token_revoked if the token was revoked while this call waited for the machine's lock.

    Otherwise an uninstallation in between would leave an uninstalled machine with a valid token.
    """
    if not ApiToken.objects.usable(now).filter(pk=token.pk).exists():
        raise Problem("token_revoked")


def provision(machine_id: str, actor: str) -> Agent:
    """Return the machine with this id, or enrol it on behalf of an operator."""
    now = timezone.now()
    agent, created = Agent.objects.get_or_enrol(machine_id, enrolled_at=now, last_seen_at=now)
    if created:
        approval.delete_requests(machine_id)
        audit.record_event(f"agent.{ENROLLED}", machine_subject(machine_id), actor=actor)
    return agent


def sent_description(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the descriptive fields that were sent. Absent ones keep their stored values."""
    return {name: fields[name] for name in DESCRIPTION_FIELDS if fields.get(name) is not None}


def enrolment_values(fields: Mapping[str, Any], token: ApiToken, now: datetime) -> dict[str, Any]:
    """Return the columns that an enrolment sets."""
    values = {"enrolled_at": now, "enrolled_with": token, "enrollment_id": fields.get("enrollment_id") or ""}
    return {**values, **sent_description(fields), "last_seen_at": now}


def readmit(agent: Agent, fields: Mapping[str, Any], token: ApiToken, now: datetime) -> str:
    """Enrol a known machine again, revoke its earlier tokens as needed, and return the status. Raises Problem."""
    if agent.is_active:
        return readmit_active(agent, fields, token, now)
    if token.is_exhausted:
        raise Problem("token_exhausted", subject=machine_subject(agent.machine_id))
    if not fields.get("allow_reactivate", True):
        raise enrolment_refusal("reactivation_forbidden", agent, token)
    values = {**enrolment_values(fields, token, now), "uninstalled_at": None, "uninstall_reason": ""}
    Agent.objects.filter(pk=agent.pk).update(status=Agent.Status.ACTIVE, **values)
    return REACTIVATED


def readmit_active(agent: Agent, fields: Mapping[str, Any], token: ApiToken, now: datetime) -> str:
    """Renew the machine's own token, replay a lost response, or enrol again if an operator allowed it."""
    if machine_of(token) is not None:  # the API calls a renewal `replayed` too
        Agent.objects.filter(pk=agent.pk).update(last_seen_at=now, **sent_description(fields))
        limit_validity(token, now)
        revoke_unused(agent, token)
        return REPLAYED
    if is_replay(agent, fields, token, now):
        revoke_token(tokens_of(agent), "replayed")
        return REPLAYED
    if token.is_exhausted:
        raise Problem("token_exhausted", subject=machine_subject(agent.machine_id))
    if not agent.may_reenrol(now):
        raise enrolment_refusal("agent_already_active", agent, token)
    revoke_token(tokens_of(agent), "reenrolled")
    Agent.objects.filter(pk=agent.pk).update(reenrolment_until=None, **enrolment_values(fields, token, now))
    return ENROLLED


def enrolment_refusal(code: str, agent: Agent, token: ApiToken) -> Problem:
    return Problem(code, extra={"agent": describe_agent_for(token, agent)}, subject=machine_subject(agent.machine_id))


def is_replay(agent: Agent, fields: Mapping[str, Any], token: ApiToken, now: datetime) -> bool:
    """Return True for a retry of an enrolment whose response was lost, so that its token was never used."""
    enrollment_id = fields.get("enrollment_id") or ""
    return (
        enrollment_id != ""
        and enrollment_id == agent.enrollment_id
        and agent.enrolled_with_id == token.pk
        and now - agent.enrolled_at <= REPLAY_FOR
        and not tokens_of(agent).filter(last_used_at__gte=agent.enrolled_at).exists()
    )


def has_other_hostname(agent: Agent, fields: Mapping[str, Any]) -> bool:
    """Return True if a retry comes from another host: a copied disk has the same enrollment_id."""
    return bool(agent.hostname and fields.get("hostname") not in (None, "", agent.hostname))


# --- Token rotation and operator actions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class RotatedToken:
    api_token: str
    previous_valid_until: datetime


def rotate_token(agent: Agent, token: ApiToken, request: HttpRequest) -> RotatedToken:
    """Issue a second token. The calling token stays valid for 24 hours at most.

    Raises token_revoked if the machine was uninstalled meanwhile.
    """
    now = timezone.now()
    with transaction.atomic():
        agent = Agent.objects.select_for_update().get(pk=agent.pk)
        recheck_token(token, now)
        until = limit_validity(token, now)
        revoke_unused(agent, token)
        plain = issue_agent_token(agent, request)
        audit.record_event("agent.token_rotated", machine_subject(agent.machine_id), request=request)
    return RotatedToken(plain, until)


def limit_validity(token: ApiToken, now: datetime) -> datetime:
    """End the token's validity in 24 hours, if it does not end earlier. Return when."""
    until = min(token.expires_at or now + OLD_TOKEN_FOR, now + OLD_TOKEN_FOR)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=until)
    return until


def revoke_unused(agent: Agent, calling_token: ApiToken) -> None:
    """Revoke other tokens that were never used: their responses were lost, and they would stay valid forever."""
    revoke_token(tokens_of(agent).filter(last_used_at=None).exclude(pk=calling_token.pk), "superseded")


def allow_reenrolment(agent: Agent, request: HttpRequest) -> datetime:
    """Allow the active machine one enrolment within 15 minutes, and return the deadline."""
    until = timezone.now() + REENROLMENT_FOR
    with transaction.atomic():
        Agent.objects.active().filter(pk=agent.pk).update(reenrolment_until=until)
        audit.record_event("agent.reenrolment_allowed", machine_subject(agent.machine_id), request=request)
    return until


def bind_to_licence(agent: Agent, license_ref: str, request: HttpRequest) -> bool:
    """Restrict the machine's runs to this licence; empty allows any. Return False if nothing has changed."""
    with transaction.atomic():
        changed = Agent.objects.filter(pk=agent.pk).exclude(license_ref=license_ref).update(license_ref=license_ref)
        if changed:
            before, after = {"license_ref": agent.license_ref}, {"license_ref": license_ref}
            audit.record_event(
                "agent.bound", machine_subject(agent.machine_id), request=request, before=before, after=after
            )
    return bool(changed)


# --- Uninstallation --------------------------------------------------------------------------------------------------


def find_machine(machine_id: str | None, token: ApiToken | None) -> Agent:
    """Return the machine of the token or of this name. Raises machine_mismatch and agent_unknown."""
    agent = own_machine(token, machine_id) or Agent.objects.named(machine_id or "").first()
    if agent is None:
        raise Problem("agent_unknown", subject=machine_subject(machine_id or ""))
    return agent


def uninstall_machine(
    machine_id: str | None, reason: str, token: ApiToken | None, request: HttpRequest | None
) -> Agent:
    """Uninstall the machine. Idempotent. Raises the same problems as `find_machine`."""
    return mark_uninstalled(find_machine(machine_id, token), reason, token, request)


def mark_uninstalled(agent: Agent, reason: str, token: ApiToken | None, request: HttpRequest | None) -> Agent:
    now = timezone.now()
    with transaction.atomic():
        if Agent.objects.claim_uninstall(agent.pk, now, reason):
            if agent.owns_name:
                Agent.objects.transfer_name(agent)
            if token is not None and machine_of(token) is not None:
                revoke_token(ApiToken.objects.filter(pk=token.pk), OWN_UNINSTALL, request=request)
            revoke_token(tokens_of(agent), "uninstalled", request=request)
            audit.record_event(
                "agent.uninstalled", machine_subject(agent.machine_id), request=request, after={"reason": reason}
            )
        agent.refresh_from_db()
    return agent
