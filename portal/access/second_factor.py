"""Who must have a second factor, and until when they may go without one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from portal.access.models import SecondFactorGrace

GRACE = timedelta(days=7)
# Recovery codes alone are none: they come with one of these.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def is_asked_of(user: Any) -> bool:
    """Users without a password sign in at a provider, whose business second factors are, or by passkey."""
    if not user.has_usable_password():
        return False
    return settings.SECOND_FACTOR == "required" or (settings.SECOND_FACTOR == "superusers" and user.is_superuser)


def due_at(user: Any) -> datetime | None:
    """Return when a second factor must be set up, or None if the user has one or needs none.

    The week of grace begins at the first sign-in under the rule, and never again: it does not return with a removed
    factor.
    """
    if not is_asked_of(user) or Authenticator.objects.filter(user=user, type__in=FACTORS).exists():
        return None
    grace, _ = SecondFactorGrace.objects.get_or_create(user=user, defaults={"since": timezone.now()})
    return grace.since + GRACE


def reset(user: AbstractBaseUser) -> int:
    """Remove every factor of a user who has lost them, recovery codes too. Return how many."""
    removed: int = Authenticator.objects.filter(user=user).delete()[0]
    return removed
