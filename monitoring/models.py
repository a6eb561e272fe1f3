"""Targets, what was found at each, the rounds in which it was looked, and the incidents that came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from monitoring.clock import Mark
from monitoring.probe import spec
from monitoring.probe.kinds import ErrorKind, sentence
from monitoring.querysets import (
    CheckResultQuerySet,
    IncidentQuerySet,
    MaintenanceQuerySet,
    RollupQuerySet,
    RoundQuerySet,
    TargetQuerySet,
)
from portal.severity import Severity


def refuse_bad_url(text: str) -> None:
    try:
        spec.clean_url(text)
    except ValueError:
        raise ValidationError(_("A complete http or https address is expected, without user and password.")) from None


def refuse_bad_statuses(text: str) -> None:
    try:
        spec.statuses(text)
    except ValueError:
        raise ValidationError(_("Statuses and ranges are expected, such as 200-299,404.")) from None


def within(least: int, most: int) -> list[Any]:
    return [MinValueValidator(least), MaxValueValidator(most)]


class Target(models.Model):
    """Something that answers HTTP, what a good answer is, and how it stands.

    `interval` and `timeout` are seconds; the timeout is the deadline of a whole attempt, redirects and body included. A
    check that fails is tried again `retries` times, two seconds apart, before it counts.

    `claim` names who checks it at present, until `claimed_until`; what a claim of the past has found counts for
    nothing. `attempts` are the failed attempts of the check that is under way, the other counts are results in a row.
    """

    class Method(models.TextChoices):
        GET = "GET"
        HEAD = "HEAD"
        OPTIONS = "OPTIONS"
        POST = "POST"

    class State(models.TextChoices):
        """As its latest results say; whether it is paused stands beside it."""

        UNKNOWN = "unknown", _("not checked yet")
        UP = "up", _("up")
        SLOW = "slow", _("slow")
        FAILING = "failing", _("failing")
        DOWN = "down", _("down")

    name = models.CharField(_("name"), max_length=100, unique=True)
    url = models.CharField(_("address"), max_length=1000, validators=[refuse_bad_url])
    method = models.CharField(_("method"), max_length=8, choices=Method, default=Method.GET)
    interval = models.PositiveIntegerField(_("interval"), default=60, validators=within(10, 86_400))
    timeout = models.PositiveSmallIntegerField(_("timeout"), default=10, validators=within(1, 30))
    retries = models.PositiveSmallIntegerField(_("retries"), default=1, validators=within(0, 5))

    expected_statuses = models.CharField(
        _("expected statuses"), max_length=100, default="200-399", validators=[refuse_bad_statuses]
    )
    follow_redirects = models.BooleanField(_("follow redirects"), default=True)
    contains = models.CharField(_("contains"), max_length=500, blank=True)
    json_path = models.CharField(_("JSON path"), max_length=200, blank=True)
    json_value = models.CharField(_("value at the JSON path"), max_length=200, blank=True)
    header_name = models.CharField(_("header"), max_length=100, blank=True)
    header_value = models.CharField(_("header contains"), max_length=200, blank=True)
    max_latency_ms = models.PositiveIntegerField(
        _("slow above (ms)"), null=True, blank=True, validators=within(1, 30_000)
    )
    tls_expiry_days = models.PositiveSmallIntegerField(
        _("warn of the certificate (days before)"), null=True, blank=True, default=14, validators=within(1, 365)
    )
    failures_to_open = models.PositiveSmallIntegerField(_("failures to open"), default=2, validators=within(1, 20))
    successes_to_close = models.PositiveSmallIntegerField(_("successes to close"), default=2, validators=within(1, 20))

    is_active = models.BooleanField(_("active"), default=True)
    silenced_until = models.DateTimeField(_("silenced until"), null=True, blank=True)
    badge_key = models.CharField(_("badge"), max_length=22, null=True, blank=True, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    state = models.CharField(_("state"), max_length=8, choices=State, default=State.UNKNOWN, editable=False)
    state_since = models.DateTimeField(_("since"), null=True, editable=False)
    next_check_at = models.DateTimeField(_("next check"), default=timezone.now, db_index=True, editable=False)
    claim = models.CharField(max_length=160, blank=True, editable=False)
    claimed_at = models.DateTimeField(null=True, editable=False)
    claimed_until = models.DateTimeField(null=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    failures_in_row = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    successes_in_row = models.PositiveIntegerField(_("successes in a row"), default=0, editable=False)
    slow_in_row = models.PositiveIntegerField(default=0, editable=False)
    fast_in_row = models.PositiveIntegerField(default=0, editable=False)
    last_check_at = models.DateTimeField(_("last check"), null=True, editable=False)
    last_latency_ms = models.FloatField(_("latency (ms)"), null=True, editable=False)
    last_error_kind = models.CharField(max_length=10, blank=True, choices=ErrorKind, editable=False)
    last_detail = models.CharField(max_length=200, blank=True, editable=False)
    certificate_until = models.DateTimeField(_("certificate valid until"), null=True, editable=False)

    objects = TargetQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("target"), _("targets")
        ordering = ["name"]
        permissions = [("export_target", _("Can export targets"))]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.json_value and not self.json_path:
            raise ValidationError({"json_path": _("Say where in the JSON the value stands.")})
        if self.header_value and not self.header_name:
            raise ValidationError({"header_name": _("Say which header holds this.")})

    def spec(self) -> spec.Spec:
        return spec.Spec(
            self.url, self.method, float(self.timeout), self.expected_statuses, self.follow_redirects, self.contains,
            self.json_path, self.json_value, self.header_name, self.header_value,
        )  # fmt: skip

    @property
    def subject(self) -> str:
        return f"target:{self.pk}"

    def is_silenced(self, now: datetime) -> bool:
        return self.silenced_until is not None and self.silenced_until > now


class Excuse(models.TextChoices):
    """Why a failure is not the target's fault, so that it counts neither as up nor as down."""

    MAINTENANCE = "maintenance", _("maintenance")
    OFFLINE = "offline", _("the portal was offline")


class CheckResult(models.Model):
    """What one check found. A failed one has an error kind and no latency; `latency_ms` covers the whole answer."""

    target = models.ForeignKey(Target, models.CASCADE, related_name="results", verbose_name=_("target"), db_index=False)
    at = models.DateTimeField(_("at"))
    error_kind = models.CharField(_("error"), max_length=10, blank=True, choices=ErrorKind)
    detail = models.CharField(_("detail"), max_length=200, blank=True)
    status = models.PositiveSmallIntegerField(_("status"), null=True)
    latency_ms = models.FloatField(_("latency (ms)"), null=True)
    excuse = models.CharField(_("not counted for"), max_length=12, blank=True, choices=Excuse)

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
        return f"{self.target_id} {self.at:%Y-%m-%d %H:%M:%S}"

    @property
    def message(self) -> str:
        return sentence(self.error_kind, self.detail) if self.error_kind else ""


class Round(models.Model):
    """One round of checks: a minute of the workers' watching, or one sweep of `beta_monitor`.

    `judged_checks` and `judged_failures` are those the fleet rule looks at: without the targets that have an incident
    of their own, which people were told of. `failing` are names. `is_online` says whether we reached the network; None
    where nobody asked.
    """

    number = models.PositiveBigIntegerField(_("number"), unique=True)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"))
    checks = models.PositiveIntegerField(_("checks"))
    failures = models.PositiveIntegerField(_("failures"))
    excused = models.PositiveIntegerField(_("not counted"), default=0)
    mean_ms = models.FloatField(_("mean (ms)"), null=True)
    p95_ms = models.FloatField(_("p95 (ms)"), null=True)
    judged_checks = models.PositiveIntegerField(default=0)
    judged_failures = models.PositiveIntegerField(default=0)
    failing = models.JSONField(_("failing targets"), default=list)
    is_online = models.BooleanField(_("online"), null=True)

    objects = RoundQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("round"), _("rounds")
        ordering = ["-number"]
        indexes = [models.Index(fields=["finished_at"], name="round_finished")]

    def __str__(self) -> str:
        return str(self.number)

    @property
    def error_rate(self) -> float | None:
        """From 0 to 1; None for a round without a check that counts."""
        return self.failures / self.checks if self.checks else None


class Incident(models.Model):
    """A rule that was broken, from the moment it was decided to the moment it held again.

    `subject` is "target:7", or "fleet" with what is watched ad hoc; one is open per subject and rule. `duration` is
    what passed by a clock that nobody sets. `told_at` is empty as long as nobody was told, for silence or maintenance.
    """

    class Rule(models.TextChoices):
        UNAVAILABLE = "unavailable", _("down")
        SLOW = "slow", _("slow")
        CERTIFICATE = "certificate", _("certificate")
        FLEET_ERRORS = "fleet_errors", _("errors across targets")
        FLEET_LATENCY = "fleet_latency", _("slow across targets")
        OFFLINE = "offline", _("the portal is offline")

    subject = models.CharField(_("subject"), max_length=200)
    target = models.ForeignKey(Target, models.CASCADE, null=True, related_name="incidents", verbose_name=_("target"))
    rule = models.CharField(_("rule"), max_length=16, choices=Rule)
    opened_at = models.DateTimeField(_("opened"))
    opened_boot = models.CharField(max_length=40, blank=True)
    opened_ticks = models.FloatField(default=0)
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True)
    acknowledged_by = models.CharField(_("acknowledged by"), max_length=150, blank=True)
    resolved_at = models.DateTimeField(_("resolved"), null=True)
    duration = models.DurationField(_("duration"), null=True)
    error_kind = models.CharField(_("error"), max_length=10, blank=True, choices=ErrorKind)
    detail = models.CharField(_("detail"), max_length=200, blank=True)
    facts = models.JSONField(_("facts"), default=dict)
    cause = models.TextField(_("cause"), max_length=2000, blank=True)
    told_at = models.DateTimeField(_("told"), null=True)
    reminded_at = models.DateTimeField(_("last reminder"), null=True)
    reminders = models.PositiveIntegerField(_("reminders"), default=0)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("incident"), _("incidents")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "rule"], condition=Q(resolved_at__isnull=True), name="incident_open_once"
            )
        ]
        indexes = [
            models.Index(fields=["-id"], name="incident_unresolved", condition=Q(resolved_at__isnull=True)),
            models.Index(fields=["rule", "-id"], name="incident_rule_newest"),
        ]
        permissions = [
            ("export_incident", _("Can export incidents")),
            ("acknowledge_incident", _("Can acknowledge incidents")),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.get_rule_display()}"

    @property
    def name(self) -> str:
        """What it is about, as people call it."""
        if self.target is not None:
            return self.target.name
        return self.subject.partition(":")[2] or str(_("All targets"))

    @property
    def severity(self) -> Severity:
        worst = (self.Rule.UNAVAILABLE, self.Rule.FLEET_ERRORS)
        return Severity.CRITICAL if self.rule in worst else Severity.WARNING

    @property
    def opened(self) -> Mark:
        return Mark(self.opened_at, self.opened_boot, self.opened_ticks)


class IncidentEvent(models.Model):
    """A line of an incident's timeline. `detail` belongs to `error_kind`; `text` is what an operator wrote."""

    class Kind(models.TextChoices):
        OPENED = "opened", _("opened")
        CHANGED = "changed", _("the error changed")
        TOLD = "told", _("told")
        SILENT = "silent", _("nobody was told")
        REMINDED = "reminded", _("reminded")
        ACKNOWLEDGED = "acknowledged", _("acknowledged")
        NOTED = "noted", _("cause noted")
        RESOLVED = "resolved", _("resolved")
        WITHDRAWN = "withdrawn", _("no longer watched")

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="timeline", verbose_name=_("incident"))
    at = models.DateTimeField(_("at"))
    kind = models.CharField(_("what"), max_length=12, choices=Kind)
    error_kind = models.CharField(_("error"), max_length=10, blank=True, choices=ErrorKind)
    detail = models.CharField(_("detail"), max_length=200, blank=True)
    text = models.TextField(_("text"), blank=True)
    actor = models.CharField(_("by"), max_length=150, blank=True)

    class Meta:
        verbose_name, verbose_name_plural = _("event of an incident"), _("events of incidents")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.incident_id} {self.kind}"


class MaintenanceWindow(models.Model):
    """When failures of these targets, or of all where none is named, count for nothing and nobody is told.

    One that repeats does so at the same time of day in the portal's time zone.
    """

    class Repeats(models.TextChoices):
        NEVER = "", _("once")
        DAILY = "daily", _("daily")
        WEEKLY = "weekly", _("weekly")

    name = models.CharField(_("name"), max_length=100)
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"))
    repeats = models.CharField(_("repeats"), max_length=6, choices=Repeats, default=Repeats.NEVER, blank=True)
    targets = models.ManyToManyField(Target, blank=True, related_name="maintenance", verbose_name=_("targets"))

    objects = MaintenanceQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("maintenance window"), _("maintenance windows")
        ordering = ["-starts_at"]
        permissions = [("export_maintenancewindow", _("Can export maintenance windows"))]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.starts_at and self.ends_at:
            longest = {"daily": 1, "weekly": 7}.get(self.repeats)
            if self.ends_at <= self.starts_at:
                raise ValidationError({"ends_at": _("It must end after it starts.")})
            if longest and (self.ends_at - self.starts_at).days >= longest:
                raise ValidationError({"ends_at": _("It must end before it starts again.")})


class Rollup(models.Model):
    """What the checks of a minute, an hour or a day (UTC) came to.

    `checks` are those that count, `failures` those of them that failed, `excused` the failures that do not. `histogram`
    counts latencies by the bucket of `monitoring.histogram`; those of several rollups add up.
    """

    class Period(models.TextChoices):
        MINUTE = "minute", _("minute")
        HOUR = "hour", _("hour")
        DAY = "day", _("day")

    target = models.ForeignKey(Target, models.CASCADE, related_name="rollups", verbose_name=_("target"), db_index=False)
    period = models.CharField(_("period"), max_length=6, choices=Period)
    start = models.DateTimeField(_("start"))
    checks = models.PositiveIntegerField(_("checks"))
    failures = models.PositiveIntegerField(_("failures"))
    excused = models.PositiveIntegerField(_("not counted"), default=0)
    latency_sum_ms = models.FloatField(_("sum of latencies (ms)"), default=0)
    histogram = models.JSONField(_("latencies"), default=dict)

    objects = RollupQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("rollup"), _("rollups")
        constraints = [models.UniqueConstraint(fields=["target", "period", "start"], name="rollup_once")]
        indexes = [models.Index(fields=["period", "start"], name="rollup_start")]

    def __str__(self) -> str:
        return f"{self.target_id} {self.period} {self.start:%Y-%m-%d %H:%M}"
