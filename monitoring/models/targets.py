"""Targets and the results of their checks."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from monitoring.error_texts import ERROR_CHOICES, describe_error
from monitoring.probe import expect, spec
from monitoring.querysets import CheckResultQuerySet, TargetQuerySet
from portal.base.words import format_moment
from portal.egress.urls import clean_url

OVERDUE = timedelta(minutes=5)


def refuse_bad_url(text: str) -> None:
    try:
        clean_url(text)
    except ValueError:
        raise ValidationError(_("Enter a complete http:// or https:// URL without user name and password.")) from None


def refuse_bad_statuses(text: str) -> None:
    try:
        spec.parse_statuses(text)
    except ValueError:
        raise ValidationError(_("Enter status codes and ranges, e.g. 200-299,404.")) from None


def range_validators(least: int, most: int) -> list[Any]:
    return [MinValueValidator(least), MaxValueValidator(most)]


class Target(models.Model):
    """Something that answers HTTP: how it is checked, what a good answer is, and its state.

    `interval` and `timeout` are seconds; the timeout is the deadline of a whole attempt, redirects and body included. A
    failed check is retried `retries` times, two seconds apart, before it counts.

    `claim` names the process that checks it until `claimed_until`; results of a lost claim are discarded. `attempts`
    are the failed attempts of the check under way, the other counts are streaks. `last_error_kind` and `last_detail`
    are those of the last attempt. `recent` holds the last ten counted results, oldest first: `1` failed, `0` did not.
    """

    class Method(models.TextChoices):
        GET = "GET", "GET"
        HEAD = "HEAD", "HEAD"
        OPTIONS = "OPTIONS", "OPTIONS"
        POST = "POST", "POST"

    class State(models.TextChoices):
        """State by the latest results. Paused targets keep it, and have `is_active` unset."""

        UNKNOWN = "unknown", _("not checked yet")
        UP = "up", _("up")
        SLOW = "slow", _("slow")
        FAILING = "failing", _("failing")
        UNSTABLE = "unstable", _("unstable")
        DOWN = "down", _("down")

    name = models.CharField(_("name"), max_length=100, unique=True)
    url = models.CharField(_("URL"), max_length=1000, validators=[refuse_bad_url])
    method = models.CharField(_("method"), max_length=8, choices=Method, default=Method.GET)
    interval = models.PositiveIntegerField(_("interval"), default=60, validators=range_validators(10, 86_400))
    timeout = models.PositiveSmallIntegerField(_("timeout"), default=10, validators=range_validators(1, 30))
    retries = models.PositiveSmallIntegerField(_("retries"), default=1, validators=range_validators(0, 5))

    expected_statuses = models.CharField(
        _("expected status codes"), max_length=100, default="200-399", validators=[refuse_bad_statuses]
    )
    follow_redirects = models.BooleanField(_("follow redirects"), default=True)
    contains = models.CharField(_("response contains"), max_length=500, blank=True)
    json_path = models.CharField(_("JSON path"), max_length=200, blank=True)
    json_value = models.CharField(_("value at the JSON path"), max_length=200, blank=True)
    header_name = models.CharField(_("header"), max_length=100, blank=True)
    header_value = models.CharField(_("header contains"), max_length=200, blank=True)
    max_latency_ms = models.PositiveIntegerField(
        _("slow above (ms)"), null=True, blank=True, validators=range_validators(1, 30_000)
    )
    tls_expiry_days = models.PositiveSmallIntegerField(
        _("certificate warning (days)"),
        null=True,
        blank=True,
        default=14,
        validators=range_validators(1, 365),
    )
    failures_to_open = models.PositiveSmallIntegerField(
        _("failures before alerting"), default=2, validators=range_validators(1, 20)
    )
    successes_to_close = models.PositiveSmallIntegerField(
        _("successes before resolving"), default=2, validators=range_validators(1, 20)
    )

    is_active = models.BooleanField(_("active"), default=True)
    silenced_until = models.DateTimeField(_("silenced until"), null=True, blank=True)
    badge_key = models.CharField(_("badge"), max_length=22, null=True, blank=True, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    state = models.CharField(_("status"), max_length=8, choices=State, default=State.UNKNOWN, editable=False)
    state_since = models.DateTimeField(_("since"), null=True, editable=False)
    next_check_at = models.DateTimeField(_("next check"), default=timezone.now, db_index=True, editable=False)
    claim = models.CharField(max_length=160, blank=True, editable=False)
    claimed_at = models.DateTimeField(null=True, editable=False)
    claimed_until = models.DateTimeField(null=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    failures_in_row = models.PositiveIntegerField(_("consecutive failures"), default=0, editable=False)
    successes_in_row = models.PositiveIntegerField(_("consecutive successes"), default=0, editable=False)
    slow_in_row = models.PositiveIntegerField(default=0, editable=False)
    fast_in_row = models.PositiveIntegerField(default=0, editable=False)
    recent = models.CharField(max_length=10, blank=True, editable=False)
    last_check_at = models.DateTimeField(_("last check"), null=True, editable=False)
    last_latency_ms = models.FloatField(_("response time (ms)"), null=True, editable=False)
    last_error_kind = models.CharField(max_length=10, blank=True, choices=ERROR_CHOICES, editable=False)
    last_detail = models.CharField(max_length=200, blank=True, editable=False)
    certificate_until = models.DateTimeField(_("certificate expires"), null=True, editable=False)

    objects = TargetQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("target"), _("targets")
        ordering = ["name"]
        permissions = [("export_target", _("Can export targets"))]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.json_path:
            try:
                expect.compile_json_path(self.json_path)
            except ValueError:
                raise ValidationError(
                    {"json_path": _("Enter a JSON path, e.g. status or checks.database.ok.")}
                ) from None
        self.refuse_what_never_holds()
        if self.json_value and not self.json_path:
            raise ValidationError({"json_path": _("Enter the JSON path of this value.")})
        if self.header_value and not self.header_name:
            raise ValidationError({"header_name": _("Enter the name of the header with this value.")})

    def refuse_what_never_holds(self) -> None:
        if self.header_name and not spec.HEADER_NAME.fullmatch(self.header_name):
            raise ValidationError({"header_name": _("Enter the name of a header, e.g. Content-Type.")})
        if not (self.contains or self.json_path):
            return
        if self.method == self.Method.HEAD:
            raise ValidationError({"method": _("HEAD responses have no body, so their content can’t be checked.")})
        with suppress(ValueError):  # the field refuses these by itself
            if not spec.expects_any_body(self.expected_statuses):
                text = _("Responses with these status codes have no body, so their content can’t be checked.")
                raise ValidationError({"expected_statuses": text})

    def spec(self) -> spec.Spec:
        return spec.Spec(
            self.url, self.method, float(self.timeout), self.expected_statuses, self.follow_redirects, self.contains,
            self.json_path, self.json_value, self.header_name, self.header_value,
        )  # fmt: skip

    @property
    def subject(self) -> str:
        return f"target:{self.pk}"

    def is_overdue(self, now: datetime) -> bool:
        """Return whether the check is so late that the state says little about now."""
        return self.is_active and self.next_check_at < now - OVERDUE

    def is_silenced(self, now: datetime) -> bool:
        return self.silenced_until is not None and self.silenced_until > now


class Exclusion(models.TextChoices):
    """Reason why a failure is excluded, so that it counts neither as up nor as down."""

    MAINTENANCE = "maintenance", _("maintenance")
    OFFLINE = "offline", _("the portal was offline")


class CheckResult(models.Model):
    """Result of one check. A failed one has an error kind and no latency; `latency_ms` covers the whole answer.

    `retried` counts the failed attempts before a good one. `retried_kind` and `detail` are those of the last of them.
    """

    target = models.ForeignKey(Target, models.CASCADE, related_name="results", verbose_name=_("target"), db_index=False)
    at = models.DateTimeField(_("time"))
    error_kind = models.CharField(_("error"), max_length=10, blank=True, choices=ERROR_CHOICES)
    detail = models.CharField(_("detail"), max_length=200, blank=True)
    status = models.PositiveSmallIntegerField(_("status code"), null=True)
    latency_ms = models.FloatField(_("response time (ms)"), null=True)
    retried = models.PositiveSmallIntegerField(_("retried"), default=0)
    retried_kind = models.CharField(_("error before the retry"), max_length=10, blank=True, choices=ERROR_CHOICES)
    excuse = models.CharField(_("reason for exclusion"), max_length=12, blank=True, choices=Exclusion)

    objects = CheckResultQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("check"), _("checks")
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["target", "-at"], name="check_of_target"),
            models.Index(fields=["at"], name="check_at"),
        ]
        constraints = [
            models.CheckConstraint(
                name="check_failed_without_latency", condition=Q(error_kind="") | Q(latency_ms__isnull=True)
            )
        ]
        permissions = [("export_checkresult", _("Can export checks"))]

    def __str__(self) -> str:
        return f"{self.target} {format_moment(self.at)}"

    @property
    def message(self) -> str:
        kind = self.error_kind or self.retried_kind
        return describe_error(kind, self.detail) if kind else ""
