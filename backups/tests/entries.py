"""Rows as scans leave them, for tests of what is shown of them."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Scan, Status
from backups.reasons import reason

REASONS = {Status.SUCCESS: "verified", Status.HASH_MISMATCH: "unchanged", Status.MISSING: "no_report"}
HASH = "a1" * 32


def entry_of(job, status=Status.SUCCESS, ago=timedelta(hours=1), **fields):
    """An entry of a cycle expected so long ago, with the same measures on both sides."""
    at = timezone.now() - ago
    sides = {
        f"{side}_{what}": value for side in ("agent", "server") for what, value in (("sha256", HASH), ("size", 4096))
    }
    given = {
        "status": status,
        "first_status": status,
        "reasons": [reason(REASONS.get(status, "file_changed"))],
        "staged_name": f"{job.database_name}.sql.gz",
        "recorded_at": at,
        "changed_at": at,
    } | (sides if status in VERIFIED else {})
    return BackupEntry.objects.create(job=job, cycle_at=at, **given | fields)


def stand(job, status=Status.SUCCESS, ago=timedelta(hours=1), **fields):
    """Lets the job stand so since then, with the entry that says why."""
    at = timezone.now() - ago
    changes = {"current_status": status, "status_since": at}
    if status in VERIFIED:
        changes |= {"last_verified_at": at, "last_success_at": at, "previous_successful_hash": HASH}
    ExpectedBackupJob.objects.filter(pk=job.pk).update(**changes | fields)
    job.refresh_from_db()
    return entry_of(job, status, ago)


def finished_scan(ago=timedelta(minutes=5), **fields):
    at = timezone.now() - ago
    given = {"source": "schedule", "at": at, "started_at": at, "finished_at": at + timedelta(seconds=12)}
    return Scan.objects.create(**given | fields)
