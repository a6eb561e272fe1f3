"""Reports that are kept as they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from beta.models import BetaProgramme, BetaSnapshot
from beta.report.gather import Report, newest_snapshot, report_of

# Who takes a report in five formats within so much time has one report, although checks go on meanwhile.
AT_ONCE = timedelta(minutes=10)
MEASURED = frozenset({"generated_at", "previous", "performance"})


def forgotten_before(now: datetime) -> date:
    """Of programmes that ended before this day no feedback is kept."""
    return timezone.localdate(now) - timedelta(days=settings.FEEDBACK_RETENTION_DAYS)


def is_over_for_good(programme: BetaProgramme, now: datetime) -> bool:
    return programme.ends is not None and programme.ends < forgotten_before(now)


def final(programme: BetaProgramme, now: datetime) -> BetaSnapshot | None:
    """The last one of a programme that is over for good: without its feedback a live report would be NO-GO."""
    return newest_snapshot(programme) if is_over_for_good(programme, now) else None


def current(programme: BetaProgramme, now: datetime) -> Report:
    """As it stands, or as it stood last."""
    snapshot = final(programme, now)
    if snapshot is None:
        return report_of(programme, now)
    report: Report = snapshot.data
    return report


def keep(programme: BetaProgramme, now: datetime, reason: BetaSnapshot.Reason, taken_by: str = "") -> BetaSnapshot:
    """The current report as a snapshot; one of the last ten minutes where nothing but measures has changed.

    Whoever waited for another one's has an earlier `now` than that. The report is made outside of the transaction,
    which keeps everybody else from writing on SQLite.
    """
    if (last := final(programme, now)) is not None:
        return last
    report = report_of(programme, now)
    with transaction.atomic():
        BetaProgramme.objects.select_for_update(no_key=True).get(pk=programme.pk)
        newest = newest_snapshot(programme)
        is_recent = newest is not None and abs(now - newest.taken_at) < AT_ONCE
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
