"""Usage digests: the reports of the guardian."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


def period_of(start: datetime, end: datetime) -> str:
    """Return `2026-03-10 14:00 - 16:00` in UTC, with the date of the end only if it differs."""
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    return f"{first:%Y-%m-%d %H:%M} - {last:{'%H:%M' if first.date() == last.date() else '%Y-%m-%d %H:%M'}}"


class GuardianReport(models.Model):
    """A report. `data` is the body of `GET usage/summary` for the same period.

    `requested_by` is empty for periodic reports, of which there is one per period.
    """

    period_start = models.DateTimeField(_("from"))
    period_end = models.DateTimeField(_("to"))
    created_at = models.DateTimeField(_("created"))
    requested_by = models.CharField(_("requested by"), max_length=160, blank=True)
    data: Any = models.JSONField(_("data"))

    class Meta:
        verbose_name = _("usage digest")
        verbose_name_plural = _("usage digests")
        permissions = [("export_guardianreport", _("Can export usage digests"))]
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["period_start", "period_end"],
                name="one_periodic_report",
                condition=models.Q(requested_by=""),
            )
        ]
        indexes = [models.Index(fields=["created_at"], name="guardian_created")]

    def __str__(self) -> str:
        return f"{self.period.replace(' - ', ' – ')} UTC"

    @property
    def period(self) -> str:
        return period_of(self.period_start, self.period_end)
