"""The duty to have a second factor, and the period of grace before it applies."""

from datetime import datetime, timedelta
from typing import Any

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from portal.access.models import SecondFactorGrace
from portal.base import encryption

GRACE = timedelta(days=7)
# Recovery codes alone are none: they come with one of these.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def needs_second_factor(user: Any) -> bool:
    """Users without a password sign in at a provider, whose business second factors are, or by passkey."""
    if not user.has_usable_password():
        return False
    return settings.SECOND_FACTOR == "required" or (settings.SECOND_FACTOR == "superusers" and user.is_superuser)


def due_at(user: Any) -> datetime | None:
    """Return when a second factor must be set up, or None if the user has one or needs none.

    The week of grace begins at the first sign-in under the rule, and never again: it does not return with a removed
    factor.
    """
    if not needs_second_factor(user) or Authenticator.objects.filter(user=user, type__in=FACTORS).exists():
        return None
    grace, _ = SecondFactorGrace.objects.get_or_create(user=user, defaults={"since": timezone.now()})
    return grace.since + GRACE


def accept_once(app: Authenticator, code: str) -> bool:
    """Return whether this right code of an app is newer than the last one used. It is good once, in every process.

    allauth remembers used codes in its cache, which each process has for itself.
    """
    secret = encryption.decrypt(app.data["secret"])
    steps = yield_hotp_counters_from_time()
    shown = [n for n in steps if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, n)))]
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().get(pk=app.pk)
        used = row.data.get("used_step", 0)
        row.data["used_step"] = max([used, *shown])
        row.save(update_fields=["data"])
        return bool(row.data["used_step"] > used)


def is_readable(factor: Authenticator) -> bool:
    """Return whether the key of the app or the seed of the codes was encrypted under a key that is still there."""
    try:
        encryption.decrypt(factor.data["secret" if factor.type == Authenticator.Type.TOTP else "seed"])
    except encryption.Unreadable:
        return False
    return True


def remove_factors(user: AbstractBaseUser) -> int:
    """Remove every factor of a user who has lost them, recovery codes too. Return how many."""
    removed: int = Authenticator.objects.filter(user=user).delete()[0]
    return removed
