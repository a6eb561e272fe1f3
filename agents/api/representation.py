"""Machines as JSON objects of the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from agents.models import Agent
from portal.base.moments import format_iso
from portal.models import ApiToken


def describe_agent(agent: Agent, now: datetime | None = None) -> dict[str, Any]:
    """Return the `agent` object of all responses, with its liveness at `now`."""
    return {
        "machine_id": agent.machine_id,
        "user_name": agent.user_name,
        "user_email": agent.user_email,
        "user_id": agent.user_id,
        "hostname": agent.hostname,
        "os_info": agent.os_info,
        "version": agent.version,
        "status": agent.status,
        "enrolled_at": format_iso(agent.enrolled_at),
        "last_seen_at": format_iso(agent.last_seen_at),
        "uninstalled_at": format_iso(agent.uninstalled_at),
        "uninstall_reason": agent.uninstall_reason or None,
        "liveness": agent.liveness(now or timezone.now()),
    }


def describe_agent_for(token: ApiToken | None, agent: Agent) -> dict[str, Any]:
    """Return the `agent` object, without personal data for an installer's enrolment token."""
    described = describe_agent(agent)
    if token is not None and token.kind == ApiToken.Kind.ENROLL:
        return {name: described[name] for name in ("machine_id", "status", "enrolled_at", "version")}
    return described


def group_by_status(machines: list[Agent], now: datetime) -> dict[str, list[dict[str, Any]]]:
    """Return `{active: [...], uninstalled: [...]}`, each in the given order."""
    described = [describe_agent(agent, now) for agent in machines]
    return {status: [agent for agent in described if agent["status"] == status] for status in Agent.Status.values}
