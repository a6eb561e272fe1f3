"""Hash the current version again, from disk, to detect bit rot."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from backups.models import BackupEntry, DepositArea, ExpectedBackupJob
from backups.reasons import Reason, make_reason
from backups.scanner import orchestration
from backups.scanner.disk.opening import UnusablePath
from backups.scanner.disk.storage import open_dump
from backups.scanner.notices import damage_notice
from backups.scanner.scan import KeepAlive
from backups.scanner.verify import measure_file
from portal.notifications import in_portal_language, notify
from portal.work.jobs import Lease


def reverify_job(pk: int) -> None:
    """Compare the current version of a job with what was verified, and send a notice of damage. Raises MachineBusy."""
    job = ExpectedBackupJob.objects.filter(pk=pk).first()
    if job is None:
        return
    area = DepositArea.objects.get_or_create_for([job.agent_id])[job.agent_id]
    with orchestration.machine_lease(area, orchestration.TASK_PATIENCE) as lease:
        entry = BackupEntry.objects.filter(job=job).current()
        if entry is not None:
            record_damage(job, check_current_version(entry, KeepAlive(lease)), lease)


def check_current_version(entry: BackupEntry, keep_alive: KeepAlive) -> Reason | None:
    """Return what is wrong with the stored dump, or None."""
    try:
        descriptor = open_dump(entry)
    except UnusablePath as error:
        return error.why
    try:
        with open(descriptor, "rb", buffering=0):
            measured = measure_file(descriptor, keep_alive=keep_alive)
    except OSError:
        return make_reason("current_unreadable")
    return None if measured.sha256 == entry.server_sha256 else make_reason("current_differs")


def record_damage(job: ExpectedBackupJob, damage: Reason | None, lease: Lease) -> None:
    now = timezone.now()
    with transaction.atomic(), in_portal_language():
        lease.extend()
        since = Coalesce("damaged_since", Value(now)) if damage is not None else None
        ExpectedBackupJob.objects.filter(pk=job.pk).update(reverified_at=now, damage=damage, damaged_since=since)
        if damage is not None:
            notify(damage_notice(job, damage, f"{now:%Y%m%d}"))
