"""Snapshots: reports that are stored as they were."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from beta.models import BetaProgramme, BetaSnapshot
from beta.report.gather import SAME_REPORT, Report, build_report, newest_snapshot

NOT_COMPARED = frozenset({"generated_at", "previous"})


def retention_cutoff(now: datetime) -> date:
    """Return the day before which a programme must have ended for its feedback to be deleted."""
    return timezone.localdate(now) - timedelta(days=settings.FEEDBACK_RETENTION_DAYS)


def is_past_retention(programme: BetaProgramme, now: datetime) -> bool:
    return programme.ends is not None and programme.ends < retention_cutoff(now)


def snapshot_after_retention(programme: BetaProgramme, now: datetime) -> BetaSnapshot | None:
    """Return the last snapshot of a programme past its retention: without feedback a live report means nothing."""
    return newest_snapshot(programme) if is_past_retention(programme, now) else None


def current_report(programme: BetaProgramme, now: datetime) -> Report:
    """Return the live report, or the final snapshot's."""
    snapshot = snapshot_after_retention(programme, now)
    if snapshot is None:
        return build_report(programme, now)
    report: Report = snapshot.data
    return report


def take_snapshot(
    programme: BetaProgramme, now: datetime, reason: BetaSnapshot.Reason, taken_by: str = ""
) -> BetaSnapshot:
    """Store the current report, or return a snapshot of the last ten minutes that says the same.

    Checks change the measurements all the time: only an export must have the newest. A caller that waited for the
    lock has an older `now` than the snapshot taken meanwhile, hence `abs`. The report is built outside the transaction,
    which blocks all other writers on SQLite.
    """
    if (last := snapshot_after_retention(programme, now)) is not None:
        return last
    report = build_report(programme, now)
    with transaction.atomic():
        BetaProgramme.objects.select_for_update(no_key=True).get(pk=programme.pk)
        newest = newest_snapshot(programme)
        if newest is not None and abs(now - newest.taken_at) < SAME_REPORT:
            with_measurements = reason == BetaSnapshot.Reason.EXPORTED
            if comparable_content(newest.data, with_measurements) == comparable_content(report, with_measurements):
                return newest
        return write_snapshot(programme, report, now, reason, taken_by)


def write_snapshot(
    programme: BetaProgramme, report: Report, now: datetime, reason: BetaSnapshot.Reason, taken_by: str = ""
) -> BetaSnapshot:
    """Store the report, whatever was stored before."""
    return BetaSnapshot.objects.create(
        programme=programme, taken_at=now, verdict=report["verdict"], reason=reason, taken_by=taken_by, data=report
    )


def comparable_content(report: Mapping[str, Any], with_measurements: bool) -> dict[str, Any]:
    """Return what makes two reports differ. Without measurements, conditions are compared by their outcome alone."""
    content = {name: value for name, value in report.items() if name not in NOT_COMPARED}
    if with_measurements:
        return content
    conditions = [(each["name"], each["target"], each["ok"]) for each in report["conditions"]]
    return {**content, "performance": None, "conditions": conditions}
