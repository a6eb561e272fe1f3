"""Hashing the current version again, from disk: disks forget."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from backups.models import BackupEntry, DepositArea, ExpectedBackupJob
from backups.reasons import Reason, reason
from backups.scanner import notices, orchestration, verify
from backups.scanner.disk import copying, opening
from backups.scanner.scan import KeepAlive
from portal.notifications import in_portal_language, notify
from portal.work.jobs import Lease


def reverify(pk: int) -> None:
    """Notes at the job whether its current version is what was verified, and tells where it is not. Raises Busy."""
    job = ExpectedBackupJob.objects.filter(pk=pk).first()
    if job is None:
        return
    area = DepositArea.objects.of([job.agent_id])[job.agent_id]
    with orchestration.held(area, orchestration.TASK_PATIENCE) as lease:
        entry = BackupEntry.objects.filter(job=job).current()
        if entry is not None:
            note(job, damage_of(entry, KeepAlive(lease)), lease)


def damage_of(entry: BackupEntry, keep_alive: KeepAlive) -> Reason | None:
    try:
        descriptor = copying.opened_entry(entry)
    except opening.Unusable as error:
        return error.why
    try:
        with open(descriptor, "rb", buffering=0):
            found = verify.measure(descriptor, keep_alive=keep_alive)
    except OSError:
        return reason("current_unreadable")
    return None if found.sha256 == entry.server_sha256 else reason("current_differs")


def note(job: ExpectedBackupJob, damage: Reason | None, lease: Lease) -> None:
    now = timezone.now()
    with transaction.atomic(), in_portal_language():
        lease.extend()
        ExpectedBackupJob.objects.filter(pk=job.pk).update(reverified_at=now, damage=damage)
        if damage is not None:
            notify(notices.of_damage(job, damage, f"{now:%Y%m%d}"))
