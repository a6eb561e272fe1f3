"""Whom a request is counted for, without asking the database anything."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from agents.authentication import machine_of
from agents.enrolment import subject
from portal.models import ApiToken


def person(user: Any) -> str:
    """The e-mail address of a user of the portal, or the user's name where there is none.

    An address in lower case, as applications' events have it: one person is counted once.
    """
    name = str(user.email or user.get_username())
    return name.lower() if "@" in name else name


def bearer(token: ApiToken) -> str:
    """`agent:<machine_id>`, `client:<label>`, or the person whose token it is."""
    if token.user is not None:
        return person(token.user)
    machine = machine_of(token)
    return token.bearer if machine is None else subject(machine.machine_id)


def who(request: HttpRequest) -> str:
    """Empty for whoever showed nothing that was valid."""
    token = getattr(request, "api_token", None)
    if token is not None:
        return bearer(token)
    user = known_user(request)
    return person(user) if user is not None and user.is_authenticated else ""


def known_user(request: HttpRequest) -> Any:
    """The session's user where the view asked for it; to ask here would be a query on every request.

    A login puts its user in the place of nobody, a logout nobody in the place of its user.
    """
    user = request.__dict__.get("user")
    if user is None or isinstance(user, SimpleLazyObject) or not user.is_authenticated:
        return request.__dict__.get("_cached_user")
    return user
