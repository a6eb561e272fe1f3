"""Authenticate machines: one query loads the token and its machine."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest

from agents.models import Agent
from agents.querysets import SEEN_EVERY
from portal.access.tokens.authentication import BearerAuthentication, compile_token_query
from portal.models import ApiToken

OWN_UNINSTALL = "own_uninstall"


def machine_of(token: ApiToken | None) -> Agent | None:
    """Return the machine of an agent token, or None for the other kinds."""
    if token is None or token.kind != ApiToken.Kind.AGENT:
        return None
    return token.machine.agent


class MachineBearerAuthentication(BearerAuthentication):
    tokens_by_key = compile_token_query(ApiToken.objects.select_related("user", "machine__agent"))

    def accepted(self, token: ApiToken, now: datetime) -> None:
        """Update `last_seen_at` on any call with a machine's token."""
        super().accepted(token, now)
        agent = machine_of(token)
        if agent is not None and agent.last_seen_at <= now - SEEN_EVERY:
            Agent.objects.mark_seen(agent.pk, now)


class RepeatableUninstallAuthentication(MachineBearerAuthentication):
    """Let a token that uninstalled its machine retry that call, while the machine stays uninstalled."""

    def may_repeat(self, token: ApiToken, request: HttpRequest) -> bool:
        agent = machine_of(token)
        return token.revoked_reason == OWN_UNINSTALL and agent is not None and not agent.is_active
