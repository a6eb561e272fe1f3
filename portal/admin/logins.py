"""Logins, logouts and failed logins in the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from portal import audit
from portal.access.signin import trail


@receiver(user_logged_in)
def note_login(request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    trail.record_user_event("user.logged_in", request, user)


@receiver(user_logged_out)
def note_logout(request: HttpRequest, user: AbstractBaseUser | None, **_: Any) -> None:
    """Record a sign-out. An expired session has no user, and nothing is recorded."""
    if user is not None:
        trail.record_user_event("user.logged_out", request, user)


@receiver(user_login_failed)
def note_failed_login(request: HttpRequest | None = None, **_: Any) -> None:
    """Counted by address and hour. The name that was typed is not kept: it may be a password in the wrong field."""
    if request is not None:
        audit.record_refusal(request, "login")
