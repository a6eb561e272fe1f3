"""Prometheus metrics of backups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Min, Q
from prometheus_client.metrics_core import Metric

from backups.findings import unstored_entries
from backups.models import ExpectedBackupJob, OffsiteCopy, Scan, Status
from backups.protection import failing, proof_lost, protected, proven, suspicious
from backups.querysets import STORED, watched
from portal.status.metrics import age_seconds, gauge, metric_sources, single_gauge


@metric_sources.register
def expected_backups(now: datetime) -> Iterator[Metric]:
    """Count the expected backups in one query, without a label per database: there may be thousands."""
    is_watched = watched(now)
    counts = ExpectedBackupJob.objects.aggregate(
        **{f"status_{status}": Count("pk", filter=is_watched & Q(current_status=status)) for status in Status.values},
        paused=Count("pk", filter=~is_watched),
        failing=Count("pk", filter=failing(now)),
        protected=Count("pk", filter=protected(now)),
        suspicious=Count("pk", filter=suspicious(now)),
        proven=Count("pk", filter=is_watched & proven()),
        proof_lost=Count("pk", filter=is_watched & proof_lost()),
        unverified=Count("pk", filter=is_watched & Q(last_verified_at=None)),
        oldest=Min("last_verified_at", filter=is_watched),
    )
    by_status = {status.lower(): counts[f"status_{status}"] for status in Status.values} | {"paused": counts["paused"]}
    yield gauge("backups_jobs", "Expected backups, by how their latest cycle stands.", "status", by_status)
    yield single_gauge("backups_failing", "Expected backups that need an operator.", counts["failing"])
    text = "Expected backups whose latest one is verified, without doubts about its content and not stale."
    yield single_gauge("backups_protected", text, counts["protected"])
    text = "Expected backups whose latest one is verified with doubts about its content."
    yield single_gauge("backups_suspicious", text, counts["suspicious"])
    text = "Expected backups whose last restore drill proves that they can be restored."
    yield single_gauge("backups_proven", text, counts["proven"])
    text = "Expected backups that a restore drill could not restore, or whose last proof is too old."
    yield single_gauge("backups_proof_lost", text, counts["proof_lost"])
    yield single_gauge("backups_never_verified", "Expected backups that have no good one yet.", counts["unverified"])
    text = "Since the last good backup was verified, of the database for which that is longest ago."
    yield single_gauge("backups_oldest_verified_seconds", text, age_seconds(counts["oldest"], now))


@metric_sources.register
def count_unstored(now: datetime) -> Iterator[Metric]:
    text = "Verified backups that wait to be stored for more than an hour, or could not be."
    yield single_gauge("backups_unstored", text, unstored_entries(now).count())


@metric_sources.register
def offsite_copies(now: datetime) -> Iterator[Metric]:
    if settings.OFFSITE_URL is None:
        return
    stored = OffsiteCopy.objects.filter(entry__promotion__in=STORED)
    counts = {state: Count("pk", filter=Q(state=state)) for state in OffsiteCopy.State.values}
    found = stored.aggregate(**counts, oldest=Min("since", filter=~Q(state=OffsiteCopy.State.COPIED)))
    by_state = {state: found[state] for state in OffsiteCopy.State.values}
    yield gauge("backups_offsite_copies", "Stored versions, by the state of their off-site copy.", "state", by_state)
    text = "Since when a stored version has had no off-site copy, of the version for which that is longest ago."
    missing = age_seconds(found["oldest"], now) if found["oldest"] else 0
    yield single_gauge("backups_offsite_missing_seconds", text, missing)


@metric_sources.register
def latest_scan(now: datetime) -> Iterator[Metric]:
    scan = Scan.objects.last_full()
    if scan is None or scan.finished_at is None:
        return
    duration = (scan.finished_at - scan.started_at).total_seconds()
    yield single_gauge(
        "backups_scan_age_seconds", "Since the last scan of all machines finished.", age_seconds(scan.finished_at, now)
    )
    yield single_gauge("backups_scan_duration_seconds", "How long it took.", duration)
    yield single_gauge("backups_scan_bytes", "How much it hashed.", scan.bytes_hashed)
    yield single_gauge("backups_scan_errors", "How many machines it could not finish with.", scan.errors)
