"""The machines as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from agents.models import Agent
from portal.base.moments import iso
from portal.models import ApiToken


def describe(agent: Agent, now: datetime | None = None) -> dict[str, Any]:
    """The `agent` object of every answer; liveness is computed here, at the moment of reading."""
    return {
        "machine_id": agent.machine_id,
        "user_name": agent.user_name,
        "user_email": agent.user_email,
        "user_id": agent.user_id,
        "hostname": agent.hostname,
        "os_info": agent.os_info,
        "version": agent.version,
        "status": agent.status,
        "enrolled_at": iso(agent.enrolled_at),
        "last_seen_at": iso(agent.last_seen_at),
        "uninstalled_at": iso(agent.uninstalled_at),
        "uninstall_reason": agent.uninstall_reason or None,
        "liveness": agent.liveness(now or timezone.now()),
    }


def describe_to(token: ApiToken | None, agent: Agent) -> dict[str, Any]:
    """The `agent` object for a caller who may be an installer: who uses a machine only staff and itself may know."""
    described = describe(agent)
    if token is not None and token.kind == ApiToken.Kind.ENROLL:
        return {name: described[name] for name in ("machine_id", "status", "enrolled_at", "version")}
    return described


def split_by_status(machines: list[Agent], now: datetime) -> dict[str, list[dict[str, Any]]]:
    """`{active: [...], uninstalled: [...]}`, each in the order given."""
    described = [describe(agent, now) for agent in machines]
    return {status: [agent for agent in described if agent["status"] == status] for status in Agent.Status.values}
