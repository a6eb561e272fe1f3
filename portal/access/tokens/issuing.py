"""Issuing and revoking tokens. Only here does a token exist in the clear, and only until its caller has shown it."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from vigie_client import contract

from portal import audit
from portal.access.tokens import credential
from portal.models import ApiToken
from portal.querysets import ApiTokenQuerySet

IDENTIFIER = re.compile(contract.IDENTIFIER)


def issue_token(
    kind: str,
    *,
    label: str = "",
    user: Any = None,
    scopes: Sequence[str] = (),
    for_machine: str = "",
    app_names: Sequence[str] = (),
    max_uses: int | None = None,
    expires_at: datetime | None = None,
    request: HttpRequest | None = None,
    actor: str | None = None,
) -> tuple[ApiToken, str]:
    """Return a new token: its row, and the text that its holder sends. The text is not stored."""
    plain = credential.mint_token(kind)
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
        created_by=actor or audit.request_actor(request),
        expires_at=expires_at,
        for_machine=for_machine,
        app_names=list(app_names),
        max_uses=max_uses,
    )
    bound = {"for_machine": for_machine, "app_names": token.app_names}
    after = {"kind": kind, "label": label, **{name: value for name, value in bound.items() if value}}
    audit.record_event("token.issued", token_subject(token), request=request, actor=actor, after=after)
    return token, str(plain)


def read_app_name(text: str) -> str:
    """Return the app_name as reports spell it. Raises ValueError, with a sentence that doesn't repeat the text."""
    name = text.strip(" ")
    if not IDENTIFIER.fullmatch(name) or credential.TOKEN_IN_TEXT.search(name):
        raise ValueError("1 to 128 of A-Z a-z 0-9 . _ : + - and space are expected")
    return name


def revoke_token(chosen: ApiTokenQuerySet, reason: str, *, request: HttpRequest | None = None) -> int:
    """Revoke those of the tokens that are not revoked yet, each with an audit event. Return their number."""
    now, ended = timezone.now(), 0
    for token in chosen.filter(revoked_at=None):
        if ApiToken.objects.filter(pk=token.pk).revoke(now, reason):
            audit.record_event("token.revoked", token_subject(token), request=request, after={"reason": reason})
            ended += 1
    return ended


def token_subject(token: ApiToken) -> str:
    return f"token:{token.key}"
