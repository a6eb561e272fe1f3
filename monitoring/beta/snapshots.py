"""Reports that are kept as they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.beta.report import Report, report_of
from monitoring.models import BetaProgramme, BetaSnapshot

# What differs between two reports of which nothing has changed.
OF_THE_MOMENT = frozenset({"generated_at", "previous"})


def keep(programme: BetaProgramme, now: datetime, reason: BetaSnapshot.Reason, taken_by: str = "") -> BetaSnapshot:
    """The report of this moment as a snapshot; the newest one where nothing has changed since.

    So who asks for the same report in five formats keeps one.
    """
    report = report_of(programme, now)
    newest = BetaSnapshot.objects.filter(programme=programme).order_by("-id").first()
    if newest is not None and content_of(newest.data) == content_of(report):
        return newest
    return write(programme, report, now, reason, taken_by)


def write(
    programme: BetaProgramme, report: Report, now: datetime, reason: BetaSnapshot.Reason, taken_by: str = ""
) -> BetaSnapshot:
    """A snapshot of that report, whatever was kept before."""
    return BetaSnapshot.objects.create(
        programme=programme, taken_at=now, verdict=report["verdict"], reason=reason, taken_by=taken_by, data=report
    )


def content_of(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in OF_THE_MOMENT}
