"""Records of backups of the portal: each success is a run of one job, made by its schedule or by the command."""

from datetime import datetime
from typing import Any

from django.conf import settings

from portal.archives.making import Archive
from portal.archives.targets import name_place
from portal.models import JobRun
from portal.work.jobs import claim_cycle

JOB = "portal.backup"


def result_of(archive: Archive) -> dict[str, Any]:
    """Return what is kept of an archive, as JSON."""
    result = {"archive": archive.name, "place": archive.place, "bytes": archive.size}
    result["rows"] = sum(archive.manifest.rows.values())
    return result | ({"not_deleted": archive.not_deleted} if archive.not_deleted else {})


def record_archive(archive: Archive) -> None:
    """Record an archive that the command made."""
    if lease := claim_cycle(JOB, archive.name):
        lease.finish(result_of(archive))


def newest_success(now: datetime) -> JobRun | None:
    """Return the last backup into PORTAL_BACKUP_TARGET, or anywhere if that is not set.

    Runs that a clock which was ahead dated after `now` are left out: nobody knows when they were.
    """
    made = JobRun.objects.filter(job=JOB, status=JobRun.Status.DONE, finished_at__lte=now).order_by("-finished_at")
    if settings.PORTAL_BACKUP_TARGET:
        made = made.filter(result__place=name_place(settings.PORTAL_BACKUP_TARGET))
    return made.first()
