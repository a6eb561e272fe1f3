"""Issuing and revoking tokens. Only here does a token exist in the clear, and only until its caller has shown it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from portal import audit, tokens
from portal.models import ApiToken
from portal.querysets import ApiTokenQuerySet


def issue(
    kind: str,
    *,
    label: str = "",
    user: Any = None,
    scopes: Sequence[str] = (),
    max_uses: int | None = None,
    expires_at: datetime | None = None,
    request: HttpRequest | None = None,
    actor: str | None = None,
) -> tuple[ApiToken, str]:
    """A new token: its row, and the text its bearer will show. The text is kept nowhere."""
    plain = tokens.mint(kind)
    version = next(iter(settings.TOKEN_PEPPERS))
    token = ApiToken.objects.create(
        kind=kind,
        label=label,
        key=plain.key,
        digest=plain.digest(version),
        pepper_version=version,
        scopes=list(scopes),
        user=user,
        created_at=timezone.now(),
        created_by=actor or audit.actor_of(request),
        expires_at=expires_at,
        max_uses=max_uses,
    )
    audit.record("token.issued", subject(token), request=request, actor=actor, after={"kind": kind, "label": label})
    return token, str(plain)


def revoke(chosen: ApiTokenQuerySet, reason: str, *, request: HttpRequest | None = None) -> int:
    """Ends the tokens that are still alive among those chosen; each leaves an audit row. The number ended."""
    now, ended = timezone.now(), 0
    for token in chosen.filter(revoked_at=None):
        if ApiToken.objects.filter(pk=token.pk).revoke(now, reason):
            audit.record("token.revoked", subject(token), request=request, after={"reason": reason})
            ended += 1
    return ended


def subject(token: ApiToken) -> str:
    return f"token:{token.key}"
