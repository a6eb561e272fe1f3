"""A machine says it is there."""

from __future__ import annotations

import random
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from agents.enrolment import subject
from agents.models import Agent
from portal import audit

JITTER = 0.1


def says_something_new(agent: Agent, body: dict[str, Any]) -> bool:
    """Whether what was sent differs from what is kept; what is the same was checked when it was kept.

    What is no text is new whether it would be kept or not, so that it is refused.
    """
    is_odd = not isinstance(body.get("hostname"), (str, type(None)))
    return is_odd or any(body.get(name) not in (None, getattr(agent, name)) for name in kept_of(agent))


def kept_of(agent: Agent) -> tuple[str, ...]:
    """What a heartbeat may change. A host name that was never given, or was erased, stays out."""
    return ("version", "os_info", "hostname") if agent.hostname else ("version", "os_info")


def note_heartbeat(agent: Agent, given: dict[str, Any], request: HttpRequest) -> None:
    """Keep what the machine says of itself where it changed; that it was seen, authentication has noted.

    Of two computers with one token the host name changes to and fro. A finding tells by the count of `agent.renamed`.
    """
    new = {name: given[name] for name in kept_of(agent) if given.get(name) not in (None, getattr(agent, name))}
    if not new:
        return
    with transaction.atomic():
        Agent.objects.active().filter(pk=agent.pk).update(**new)
        for action, names in (("agent.renamed", {"hostname"}), ("agent.changed", {"version", "os_info"})):
            after = {name: value for name, value in new.items() if name in names}
            if after:
                before = {name: getattr(agent, name) for name in after}
                audit.hourly(action, subject(agent.machine_id), request=request, before=before, after=after)


def next_heartbeat_seconds() -> int:
    """The interval with a tenth of jitter: a fleet switched on at nine must not call in step for ever."""
    interval = settings.HEARTBEAT_INTERVAL_SECONDS
    return round(interval * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - spreads load, guards nothing
