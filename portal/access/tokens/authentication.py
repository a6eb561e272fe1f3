"""Authenticate the Authorization header: one query, a constant-time comparison, a stable code on refusal."""

import hmac
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from portal.access import rate_limits
from portal.access.tokens import credential
from portal.base.addresses import sender_network
from portal.base.compiled import CompiledQuery
from portal.base.problems import REALM, Problem
from portal.models import ApiToken, AuthFailure
from portal.querysets import ApiTokenQuerySet

LAST_USED_EVERY = timedelta(minutes=1)


class TokenBearer(AnonymousUser):
    """The user of a request made by a machine or an application: authenticated, but nobody who has permissions."""

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        return True


def bearer_text(request: HttpRequest) -> str | None:
    """Return what follows `Bearer` in the Authorization header, or None without a bearer token."""
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def compile_token_query(candidates: ApiTokenQuerySet) -> CompiledQuery[ApiToken]:
    """The one query of every call: by (key, address), the token, and whether the address failed lately."""
    return CompiledQuery(
        lambda key, address: candidates.with_failures_from(address, AuthFailure.objects.all()).filter(key=key), arity=2
    )


def verify_token(text: str, address: str, tokens_by_key: CompiledQuery[ApiToken]) -> ApiToken:
    """The token behind the text, its secret verified. Raises Problem("invalid_token").

    Whether it is revoked or expired is for `refuse_ended`: some calls still answer a revoked token.
    """
    plain = credential.parse_token(text)
    if plain is None:
        raise Problem("invalid_token")
    token = tokens_by_key.one(plain.key, address)
    # A miss costs the same digest and comparison as a hit.
    digest = plain.digest(token.pepper_version if token else 1)
    if (
        not hmac.compare_digest(digest, token.digest if token else "0" * 64)
        or token is None
        or token.kind != plain.kind
    ):
        raise Problem("invalid_token")
    return token


def refuse_ended(token: ApiToken, now: datetime) -> None:
    """Raise token_revoked or token_expired. Only for a token whose secret has verified: the answer tells it exists.

    A staff token ends with its user's staff status.
    """
    if token.revoked_at is not None or (token.user is not None and not (token.user.is_active and token.user.is_staff)):
        raise Problem("token_revoked")
    if token.is_expired(now):
        raise Problem("token_expired")


def record_use(token: ApiToken, now: datetime) -> None:
    """Store the time of use, at most once a minute even under concurrent calls."""
    if token.last_used_at is None or token.last_used_at <= now - LAST_USED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


class BearerAuthentication(BaseAuthentication):
    """Puts the token into `request.auth` and, for the audit trail, into `request.api_token`."""

    tokens_by_key = compile_token_query(ApiToken.objects.select_related("user"))

    def may_repeat(self, token: ApiToken, request: HttpRequest) -> bool:
        """Return True if the call may be repeated with a revoked token."""
        return False

    def authenticate_request(self, request: HttpRequest) -> ApiToken | None:
        """The token of the request, or None where it shows none. Raises Problem."""
        text = bearer_text(request)
        if text is None:
            return None
        now, address = timezone.now(), sender_network(request.META.get("REMOTE_ADDR", ""))
        try:
            token = verify_token(text, address, self.tokens_by_key)
            if not self.may_repeat(token, request):
                refuse_ended(token, now)
        except Problem as problem:
            raise rate_limits.count_failure(problem, address) from None
        if token.had_failures:  # type: ignore[attr-defined]
            rate_limits.forget_failures(address)
        request.api_token = token  # type: ignore[attr-defined]
        self.accepted(token, now)
        return token

    def accepted(self, token: ApiToken, now: datetime) -> None:
        record_use(token, now)

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        token = self.authenticate_request(request._request)
        return None if token is None else (token.user or TokenBearer(), token)

    def authenticate_header(self, request: Request) -> str:
        return REALM
