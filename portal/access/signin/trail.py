"""Sign-ins and changes of factors in the audit trail: who, what and from where, never a secret."""

from typing import Any

from allauth.account.signals import authentication_step_completed, password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
)
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from portal import audit


def record_user_event(action: str, request: HttpRequest, user: Any, **after: Any) -> None:
    name = audit.user_subject(user)
    audit.record_event(action, name, request=request, actor=name, after=after or None)


@receiver(authenticator_added)
def record_added_factor(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    record_user_event("user.factor_added", request, user, factor=str(authenticator.type))


@receiver(authenticator_removed)
def record_removed_factor(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    record_user_event("user.factor_removed", request, user, factor=str(authenticator.type))


@receiver(authenticator_reset)
def record_new_recovery_codes(request: HttpRequest, user: User, **_: Any) -> None:
    record_user_event("user.recovery_codes_generated", request, user)


@receiver(authentication_step_completed)
def record_used_recovery_code(request: HttpRequest, user: User, method: str, **details: Any) -> None:
    if method == "mfa" and details.get("type") == Authenticator.Type.RECOVERY_CODES:
        record_user_event("user.recovery_code_used", request, user)


@receiver(authentication_failed)
def record_wrong_factor(request: HttpRequest, user: User, **_: Any) -> None:
    audit.record_refusal(request, "second_factor", audit.user_subject(user))


@receiver(user_logged_in)
def record_sign_in(request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    record_user_event("user.logged_in", request, user)


@receiver(user_logged_out)
def record_sign_out(request: HttpRequest, user: AbstractBaseUser | None, **_: Any) -> None:
    """Record a sign-out. An expired session has no user, and nothing is recorded."""
    if user is not None:
        record_user_event("user.logged_out", request, user)


@receiver(user_login_failed)
def record_failed_sign_in(request: HttpRequest | None = None, **_: Any) -> None:
    """Count by address and hour. The name that was typed is not kept: it may be a password in the wrong field."""
    if request is not None:
        audit.record_refusal(request, "login")


@receiver([password_changed, password_set, password_reset])
def record_changed_password(request: HttpRequest, user: User, **_: Any) -> None:
    record_user_event("user.password_changed", request, user)
