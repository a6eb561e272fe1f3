"""Reports that are kept as they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from monitoring.beta.report import Report, report_of
from monitoring.models import BetaProgramme, BetaSnapshot

# Who takes a report in five formats within so much time has one report, although checks go on meanwhile.
AT_ONCE = timedelta(minutes=10)
MEASURED = frozenset({"generated_at", "previous", "performance"})


def keep(programme: BetaProgramme, now: datetime, reason: BetaSnapshot.Reason, taken_by: str = "") -> BetaSnapshot:
    """The report of this moment as a snapshot; one of the last ten minutes where nothing but measures has changed."""
    report = report_of(programme, now)
    newest = BetaSnapshot.objects.filter(programme=programme).order_by("-id").first()
    is_recent = newest is not None and now - AT_ONCE < newest.taken_at <= now
    if newest is not None and is_recent and substance_of(newest.data) == substance_of(report):
        return newest
    return write(programme, report, now, reason, taken_by)


def write(
    programme: BetaProgramme, report: Report, now: datetime, reason: BetaSnapshot.Reason, taken_by: str = ""
) -> BetaSnapshot:
    """A snapshot of that report, whatever was kept before."""
    return BetaSnapshot.objects.create(
        programme=programme, taken_at=now, verdict=report["verdict"], reason=reason, taken_by=taken_by, data=report
    )


def substance_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What people said and what follows of it: how conditions are met, but not by how much."""
    said = {name: value for name, value in report.items() if name not in MEASURED}
    return said | {"conditions": [(each["name"], each["target"], each["ok"]) for each in report["conditions"]]}
