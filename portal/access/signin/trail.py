"""Sign-ins and changes of factors in the audit trail: who, what and from where, never a secret."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import authentication_step_completed, password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
)
from django.contrib.auth.models import User
from django.dispatch import receiver
from django.http import HttpRequest

from portal import audit


def record_user_event(action: str, request: HttpRequest, user: Any, **after: Any) -> None:
    name = audit.user_subject(user)
    audit.record_event(action, name, request=request, actor=name, after=after or None)


def factor_type(authenticator: Authenticator) -> str:
    return str(authenticator.type)


@receiver(authenticator_added)
def record_added_factor(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    record_user_event("user.factor_added", request, user, factor=factor_type(authenticator))


@receiver(authenticator_removed)
def record_removed_factor(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    record_user_event("user.factor_removed", request, user, factor=factor_type(authenticator))


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


@receiver([password_changed, password_set, password_reset])
def record_changed_password(request: HttpRequest, user: User, **_: Any) -> None:
    record_user_event("user.password_changed", request, user)
