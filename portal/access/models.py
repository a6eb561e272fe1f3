"""Tables of access control."""

from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.utils.translation import gettext_lazy as _

FORGOTTEN_AFTER = timedelta(days=1)
WINDOW = timedelta(minutes=1)
LONGEST_WINDOW = timedelta(hours=1)
# After each further limit of failures the next window is twice as long: 1, 2, 4 … minutes.
WINDOW_LENGTHS = [WINDOW * 2**doublings for doublings in range(6)]


class GuessWindowQuerySet(models.QuerySet["GuessWindow"]):
    def claim(self, limit: int, now: datetime) -> bool:
        """Count one attempt in the row, where its window has room. False where it has none, or there is no row.

        One conditional UPDATE, so that of simultaneous guesses no more than `limit` get through.
        """
        is_open, is_forgotten = Q(window_ends_at__gt=now), Q(window_ends_at__lte=now - FORGOTTEN_AFTER)
        longer = [When(total__lt=limit * n, then=Value(now + length)) for n, length in enumerate(WINDOW_LENGTHS, 1)]
        # An account's window stays open while attempts keep coming: no minute has more than the limit. Behind one
        # address there may be many users.
        kept = is_open & (Q(account="") | Q(window_ends_at__gt=now + WINDOW))
        ends = [When(kept, then=F("window_ends_at")), When(is_open | is_forgotten, then=Value(now + WINDOW)), *longer]
        return bool(
            self.filter(~is_open | Q(count__lt=limit)).update(
                count=Case(When(is_open, then=F("count") + 1), default=1),
                total=Case(When(is_forgotten, then=1), default=F("total") + 1),
                window_started_at=Case(When(is_open, then=F("window_started_at")), default=Value(now)),
                window_ends_at=Case(*ends, default=Value(now + LONGEST_WINDOW)),
            )
        )

    def give_back(self) -> None:
        """Uncount an attempt that succeeded."""
        self.filter(count__gt=0, total__gt=0).update(count=F("count") - 1, total=F("total") - 1)

    def forgotten(self, now: datetime) -> Self:
        return self.filter(window_ends_at__lte=now - FORGOTTEN_AFTER)


class GuessWindow(models.Model):
    """Failed guesses of one kind: at one account, at one account from a known source, or from one address.

    `count` is those of the current window, `total` those since the last quiet day: it sets how long the next window is.
    `account` and the source of a known device are keyed hashes.
    """

    class Kind(models.TextChoices):
        SIGN_IN = "sign_in"  # a password
        CODE = "code"  # a second factor
        RESET = "reset"  # a request for a reset mail
        ANY = "any"  # all of them, counted by address

    kind = models.CharField(max_length=8, choices=Kind.choices)
    account = models.CharField(max_length=64, blank=True)
    source = models.CharField(max_length=64, blank=True)
    window_started_at = models.DateTimeField()
    window_ends_at = models.DateTimeField(db_index=True)
    count = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)

    objects: Any = GuessWindowQuerySet.as_manager()

    class Meta:
        app_label = "portal"
        verbose_name = _("failed guesses")
        verbose_name_plural = _("failed guesses")
        constraints = [models.UniqueConstraint(fields=["kind", "account", "source"], name="one_window_per_counter")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.count}"


class SecondFactorGrace(models.Model):
    """When a user first signed in under the rule that asks them for a second factor."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor_grace")
    since = models.DateTimeField()

    class Meta:
        app_label = "portal"
        verbose_name = _("time to set up a second factor")
        verbose_name_plural = _("times to set up a second factor")

    def __str__(self) -> str:
        return f"{self.user}: {self.since:%Y-%m-%d}"


class Preferences(models.Model):
    """A user's language and time zone. Empty fields stand for the portal's zone and the browser's language."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preferences")
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True)
    language = models.CharField(_("language"), max_length=8, blank=True)
    has_dismissed_checklist = models.BooleanField(_("checklist dismissed"), default=False)

    class Meta:
        app_label = "portal"
        verbose_name = _("preferences")
        verbose_name_plural = _("preferences")

    def __str__(self) -> str:
        return str(self.user)
