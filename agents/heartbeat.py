"""Heartbeats: record what a machine reports about itself, and schedule the next one."""

from __future__ import annotations

import random
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from agents.enrolment import machine_subject
from agents.models import Agent
from portal import audit

JITTER = 0.1


def has_changes(agent: Agent, body: dict[str, Any]) -> bool:
    """Return False if the heartbeat only repeats stored values, and so needs neither validation nor a write.

    A host name that is not a text counts as a change, so that validation refuses it even if it would not be stored.
    """
    is_invalid = not isinstance(body.get("hostname"), (str, type(None)))
    return is_invalid or any(body.get(name) not in (None, getattr(agent, name)) for name in changeable_fields(agent))


def changeable_fields(agent: Agent) -> tuple[str, ...]:
    """Return the fields that a heartbeat may change. A host name that is empty or erased stays empty."""
    return ("version", "os_info", "hostname") if agent.hostname else ("version", "os_info")


def record_changes(agent: Agent, sent: dict[str, Any], request: HttpRequest) -> None:
    """Save and audit changed values. Authentication has already updated `last_seen_at`."""
    new = {name: sent[name] for name in changeable_fields(agent) if sent.get(name) not in (None, getattr(agent, name))}
    if not new:
        return
    with transaction.atomic():
        Agent.objects.active().filter(pk=agent.pk).update(**new)
        for action, names in (("agent.renamed", {"hostname"}), ("agent.changed", {"version", "os_info"})):
            after = {name: value for name, value in new.items() if name in names}
            if after:
                before = {name: getattr(agent, name) for name in after}
                audit.record_hourly(
                    action, machine_subject(agent.machine_id), request=request, before=before, after=after
                )


def next_heartbeat_seconds() -> int:
    """Return the interval with 10 % jitter, so that machines switched on together spread out."""
    interval = settings.HEARTBEAT_INTERVAL_SECONDS
    return round(interval * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - spreads load, guards nothing
