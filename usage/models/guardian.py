"""Usage digests: the reports of the guardian."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.base.words import readers_zone, zone_abbreviation

DAY_AND_TIME = "%Y-%m-%d %H:%M"


def period_of(start: datetime, end: datetime) -> str:
    """Return `2026-03-10 14:00 - 16:00` in UTC, with the date of the end only if it differs."""
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    return f"{first:{DAY_AND_TIME}} - {last:{'%H:%M' if first.date() == last.date() else DAY_AND_TIME}}"


def format_period(start: datetime, end: datetime) -> str:
    """Return `2026-03-10 15:00 – 17:00 CET` in the reader's time zone, with the date of the end only if it differs.

    As clocks change, the start has its own abbreviation: `02:00 CEST – 03:00 CET` are two hours.
    """
    first, last = start.astimezone(readers_zone()), end.astimezone(readers_zone())
    begins, ends = f"{first:{DAY_AND_TIME}}", f"{last:{'%H:%M' if first.date() == last.date() else DAY_AND_TIME}}"
    zone_before, zone = zone_abbreviation(start), zone_abbreviation(end)
    return f"{begins} – {ends} {zone}" if zone == zone_before else f"{begins} {zone_before} – {ends} {zone}"


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
        return format_period(self.period_start, self.period_end)

    @property
    def period(self) -> str:
        return period_of(self.period_start, self.period_end)
