"""Backups, as Prometheus sees them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Min, Q
from prometheus_client.metrics_core import Metric

from backups.findings import unstored
from backups.models import ExpectedBackupJob, Scan, Status
from backups.protection import failing, protected, suspicious
from backups.querysets import watched
from portal.status.metrics import age_seconds, gauge, metric_sources, single_gauge


@metric_sources.register
def expected_backups(now: datetime) -> Iterator[Metric]:
    """One pass over the expected backups: nothing here is told of each, for there may be thousands."""
    seen = watched(now)
    found = ExpectedBackupJob.objects.aggregate(
        **{f"status_{status}": Count("pk", filter=seen & Q(current_status=status)) for status in Status.values},
        paused=Count("pk", filter=~seen),
        failing=Count("pk", filter=failing(now)),
        protected=Count("pk", filter=protected(now)),
        suspicious=Count("pk", filter=suspicious(now)),
        unverified=Count("pk", filter=seen & Q(last_verified_at=None)),
        oldest=Min("last_verified_at", filter=seen),
    )
    by_status = {status.lower(): found[f"status_{status}"] for status in Status.values} | {"paused": found["paused"]}
    yield gauge("backups_jobs", "Expected backups, by how their latest cycle stands.", "status", by_status)
    yield single_gauge("backups_failing", "Expected backups that need an operator.", found["failing"])
    text = "Expected backups whose latest one is verified, without doubts about its content and not stale."
    yield single_gauge("backups_protected", text, found["protected"])
    text = "Expected backups whose latest one is verified with doubts about its content."
    yield single_gauge("backups_suspicious", text, found["suspicious"])
    yield single_gauge("backups_never_verified", "Expected backups that have no good one yet.", found["unverified"])
    text = "Since the last good backup was verified, of the database for which that is longest ago."
    yield single_gauge("backups_oldest_verified_seconds", text, age_seconds(found["oldest"], now))


@metric_sources.register
def not_stored(now: datetime) -> Iterator[Metric]:
    text = "Verified backups that wait to be stored for more than an hour, or could not be."
    yield single_gauge("backups_unstored", text, unstored(now).count())


@metric_sources.register
def scans(now: datetime) -> Iterator[Metric]:
    scan = Scan.objects.last_of_all()
    if scan is None or scan.finished_at is None:
        return
    duration = (scan.finished_at - scan.started_at).total_seconds()
    yield single_gauge(
        "backups_scan_age_seconds", "Since the last scan of all machines finished.", age_seconds(scan.finished_at, now)
    )
    yield single_gauge("backups_scan_duration_seconds", "How long it took.", duration)
    yield single_gauge("backups_scan_bytes", "How much it hashed.", scan.bytes_hashed)
    yield single_gauge("backups_scan_errors", "How many machines it could not finish with.", scan.errors)
