"""Licences, and the hourly rollups of their runs."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

FIRST_DAY, LAST_DAY = 1, 28  # every month has these


class Licence(models.Model):
    """The customer and the monthly page quota of a `license_ref`. No quota means unlimited.

    The first run of an unknown reference creates its licence. Periods begin on `period_day` at midnight in the
    portal's time zone. `exceeded_until` is the end of the period whose quota is used up, and `exceeded_since` when that
    was found. `told_percent` is the highest warning sent in the period that began on `told_period`.
    """

    ref = models.CharField(_("licence key"), max_length=128, unique=True)
    customer = models.CharField(_("customer"), max_length=160, blank=True)
    monthly_page_quota = models.PositiveIntegerField(
        _("monthly page quota"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    period_day = models.PositiveSmallIntegerField(
        _("month starts on day"),
        default=FIRST_DAY,
        validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
    )
    first_seen_at = models.DateTimeField(_("first seen"), null=True, editable=False)
    last_run_at = models.DateTimeField(_("last run"), null=True, editable=False)
    exceeded_until = models.DateTimeField(null=True, editable=False)
    exceeded_since = models.DateTimeField(null=True, editable=False)
    told_period = models.DateField(null=True, editable=False)
    told_percent = models.PositiveSmallIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = _("licence")
        verbose_name_plural = _("licences")
        permissions = [("export_licence", _("Can export licences"))]
        ordering = ["ref"]
        indexes = [
            # These operator classes let PostgreSQL use the index for prefix searches; other databases ignore them.
            models.Index(fields=["ref"], name="licence_ref", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["customer"], name="licence_customer", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["ref"], name="licence_exceeded", condition=models.Q(exceeded_until__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.ref} ({self.customer})" if self.customer else self.ref


class RunRollup(models.Model):
    """The totals of the runs of one UTC hour, by licence, application and version. Written by `usage.rollups` only."""

    hour = models.DateTimeField(_("hour"))
    license_ref = models.CharField(_("licence"), max_length=128, blank=True)
    app_name = models.CharField(_("application"), max_length=128)
    app_version = models.CharField(_("version"), max_length=128)
    runs = models.PositiveBigIntegerField(_("runs"))
    documents = models.PositiveBigIntegerField(_("documents"))
    succeeded = models.PositiveBigIntegerField(_("succeeded"))
    failed = models.PositiveBigIntegerField(_("failed"))
    pages = models.PositiveBigIntegerField(_("pages"))

    class Meta:
        verbose_name = _("hourly rollup")
        verbose_name_plural = _("hourly rollups")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["license_ref", "hour", "app_name", "app_version"], name="one_rollup_per_hour_and_version"
            )
        ]
        indexes = [models.Index(fields=["hour"], name="runrollup_hour")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:00} {self.license_ref}"


class RollupProgress(models.Model):
    """One row: all runs received before `counted_until` are in the rollups."""

    counted_until = models.DateTimeField()

    class Meta:
        verbose_name = _("rollup progress")
        verbose_name_plural = _("rollup progress")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.counted_until:%Y-%m-%d %H:%M:%S}"
