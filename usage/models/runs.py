"""Runs of client applications: counts only, never content."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from usage.clocks import clock_field
from usage.querysets import RunQuerySet

PREFIX_THEN_ID = ["varchar_pattern_ops", "int8_ops"]
# A run with more pages is more likely a bug of the application than real work.
MOST_PLAUSIBLE_PAGES = 1_000_000
# The totals of runs, in the order of `usage.consumption.UsageTotals`. Only the pages of plausible runs count.
RUN_TOTALS = {
    "runs": models.Count("pk"),
    "documents": models.Sum("document_count"),
    "succeeded": models.Sum("succeeded_count"),
    "failed": models.Sum("failed_count"),
    "pages": models.Sum("total_pages", filter=models.Q(implausible=False), default=0),
}


def hour_of(moment: datetime) -> datetime:
    """Return the full UTC hour that contains the moment."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class Run(models.Model):
    """One run of a client application over some documents.

    `documents` is a list of `{ordinal, page_count, status, duration_ms, extension}`, each of which may be null.
    `documents_omitted` counts the documents that are not listed. `digest` is the SHA-256 of the validated report
    without `sent_at`, which tells a retry from a conflict. `started_at` is corrected for clock skew, and null if no
    time was plausible (see `clock`). `hour` is the hour of `started_at` or of `received_at`, whichever is earlier. The
    pages of an `implausible` run do not count until an operator accepts them.
    """

    run_id = models.UUIDField(_("run"), unique=True)
    license_ref = models.CharField(_("licence"), max_length=128, blank=True)
    machine_id = models.CharField(_("machine"), max_length=128, blank=True)
    app_name = models.CharField(_("application"), max_length=128)
    app_version = models.CharField(_("version"), max_length=128)
    document_count = models.PositiveIntegerField(_("documents"))
    succeeded_count = models.PositiveIntegerField(_("succeeded"))
    failed_count = models.PositiveIntegerField(_("failed"))
    total_pages = models.PositiveIntegerField(_("pages"))
    documents: Any = models.JSONField(_("documents"))
    documents_omitted = models.PositiveIntegerField(_("unlisted documents"), default=0, db_default=0)
    started_at = models.DateTimeField(_("started"), null=True)
    sent_at = models.DateTimeField(_("sent"), null=True)
    clock = clock_field()
    received_at = models.DateTimeField(_("received"))
    hour = models.DateTimeField(_("hour"), editable=False)
    dropped_keys = models.PositiveIntegerField(_("dropped keys"), default=0)
    over_quota = models.BooleanField(_("over quota"), default=False)
    implausible = models.BooleanField(_("implausible"), default=False, db_default=False)
    reported_by = models.CharField(_("reported by"), max_length=160)
    digest = models.CharField(max_length=64, editable=False)

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["received_at"], name="run_received"),
            models.Index(fields=["hour", "license_ref"], name="run_hour"),
            # These operator classes let PostgreSQL use the index for prefix searches; other databases ignore them.
            models.Index(fields=["machine_id", "-id"], name="run_machine", opclasses=PREFIX_THEN_ID),
            models.Index(fields=["license_ref", "-id"], name="run_license", opclasses=PREFIX_THEN_ID),
            models.Index(fields=["-id"], name="run_failed", condition=models.Q(failed_count__gt=0)),
            models.Index(fields=["-id"], name="run_over_quota", condition=models.Q(over_quota=True)),
            models.Index(fields=["-id"], name="run_implausible", condition=models.Q(implausible=True)),
        ]
        permissions = [("export_run", _("Can export runs"))]

    def __str__(self) -> str:
        return " · ".join(filter(None, (self.app_name, self.machine_id, self.run_id.hex[:8])))
