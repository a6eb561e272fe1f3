"""Rounds of checks, rollups, and maintenance windows."""

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from monitoring.models.targets import Target
from monitoring.querysets import MaintenanceQuerySet, RollupQuerySet, RoundQuerySet
from portal.base.words import format_moment


class Round(models.Model):
    """One round of checks: a minute of the workers, or one sweep of `beta_monitor`.

    The `judged_…` fields are those of the fleet rule, which leaves out targets with an open incident of their own and
    those under maintenance. `failing` are names, `judged_failing` are lists of name, error kind and detail. `retried`
    counts the failed attempts of checks that succeeded at a retry. `is_online` says whether the portal reached the
    network, or is None if no probe of it ever succeeded.
    """

    number = models.PositiveBigIntegerField(_("number"), unique=True)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"))
    checks = models.PositiveIntegerField(_("checks"))
    failures = models.PositiveIntegerField(_("failures"))
    excused = models.PositiveIntegerField(_("excluded"), default=0)
    retried = models.PositiveIntegerField(_("retried"), default=0)
    mean_ms = models.FloatField(_("mean (ms)"), null=True)
    p95_ms = models.FloatField(_("p95 (ms)"), null=True)
    judged_checks = models.PositiveIntegerField(default=0)
    judged_failures = models.PositiveIntegerField(default=0)
    judged_p95_ms = models.FloatField(null=True)
    judged_failing = models.JSONField(default=list)
    failing = models.JSONField(_("failing targets"), default=list)
    is_online = models.BooleanField(_("online"), null=True)

    objects = RoundQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("round"), _("rounds")
        ordering = ["-number"]
        indexes = [models.Index(fields=["finished_at"], name="round_finished")]
        permissions = [("export_round", _("Can export rounds"))]

    def __str__(self) -> str:
        return f"#{self.number} {format_moment(self.started_at)}"

    @property
    def error_rate(self) -> float | None:
        """Return the share of failed checks from 0 to 1, or None without counted checks. Retries do not count."""
        return self.failures / self.checks if self.checks else None


class Rollup(models.Model):
    """Figures of a target's checks in a minute, an hour or a day (UTC).

    `checks` are those that count, `failures` those of them that failed, `excused` the excluded failures, `retried`
    the failed attempts of checks that succeeded at a retry. `histogram` counts latencies by the bucket of
    `monitoring.figures.histogram`; those of several rollups add up.
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
    excused = models.PositiveIntegerField(_("excluded"), default=0)
    retried = models.PositiveIntegerField(_("retried"), default=0)
    latency_sum_ms = models.FloatField(_("sum of response times (ms)"), default=0)
    histogram = models.JSONField(_("response times"), default=dict)

    objects = RollupQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("rollup"), _("rollups")
        constraints = [models.UniqueConstraint(fields=["target", "period", "start"], name="rollup_once")]
        indexes = [models.Index(fields=["period", "start"], name="rollup_start")]

    def __str__(self) -> str:
        return f"{self.target_id} {self.period} {self.start:%Y-%m-%d %H:%M}"


def wall_clock(moment: datetime) -> datetime:
    """Return the naive wall-clock time in the portal's time zone."""
    return timezone.make_naive(moment, timezone.get_default_timezone())


class MaintenanceWindow(models.Model):
    """A time in which failures of these targets, or of all if it names none, do not count and send no message.

    A repeating window starts and ends at the same wall-clock times, in the portal's time zone.
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

    @property
    def wall_clock(self) -> tuple[datetime, datetime]:
        """Return the start and the end of the first occurrence."""
        return wall_clock(self.starts_at), wall_clock(self.ends_at)

    @property
    def length(self) -> timedelta:
        """Return the length of an occurrence, by the wall clock if the window repeats."""
        start, end = self.wall_clock if self.repeats else (self.starts_at, self.ends_at)
        return end - start

    def clean(self) -> None:
        if self.starts_at and self.ends_at:
            longest = {"daily": 1, "weekly": 7}.get(self.repeats)
            start, end = self.wall_clock
            if self.ends_at <= self.starts_at:
                raise ValidationError({"ends_at": _("The end must be after the start.")})
            if longest and (end - start).days >= longest:
                raise ValidationError({"ends_at": _("The maintenance must end before it repeats.")})
