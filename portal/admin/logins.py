"""Logins, logouts and failed logins in the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from portal import audit


@receiver(user_logged_in)
def note_login(request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    audit.record("user.logged_in", audit.subject_of(user), request=request, actor=audit.subject_of(user))


@receiver(user_logged_out)
def note_logout(request: HttpRequest, user: AbstractBaseUser | None, **_: Any) -> None:
    """A session that had already ended has no user, and nothing to note."""
    if user is not None:
        name = audit.subject_of(user)
        audit.record("user.logged_out", name, request=request, actor=name)


@receiver(user_login_failed)
def note_failed_login(request: HttpRequest | None = None, **_: Any) -> None:
    """Counted by address and hour. The name that was typed is not kept: it may be a password in the wrong field."""
    if request is not None:
        audit.refusal(request, "login")
