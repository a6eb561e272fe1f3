"""Name the caller of a request, without a query."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from agents.authentication import machine_of
from agents.enrolment import machine_subject
from portal.models import ApiToken


def user_email_or_name(user: Any) -> str:
    """Return a user's e-mail address, or the username without one.

    In lower case, as in the events of applications, so that a person counts once.
    """
    name = str(user.email or user.get_username())
    return name.lower() if "@" in name else name


def caller_of_token(token: ApiToken) -> str:
    """Return `agent:<machine_id>`, `client:<label>`, or the address of the user whose token it is."""
    if token.user is not None:
        return user_email_or_name(token.user)
    machine = machine_of(token)
    return token.bearer if machine is None else machine_subject(machine.machine_id)


def caller_of(request: HttpRequest) -> str:
    """Return the caller's name, empty for unauthenticated requests."""
    token = getattr(request, "api_token", None)
    if token is not None:
        return caller_of_token(token)
    user = loaded_user(request)
    return user_email_or_name(user) if user is not None and user.is_authenticated else ""


def loaded_user(request: HttpRequest) -> Any:
    """Return the session's user if the view has loaded it: loading it here would be a query on every request.

    A login or logout replaces `request.user`, while `_cached_user` keeps the user from before.
    """
    user = request.__dict__.get("user")
    if user is None or isinstance(user, SimpleLazyObject) or not user.is_authenticated:
        return request.__dict__.get("_cached_user")
    return user
