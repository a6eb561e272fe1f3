"""Records of backups of the portal: each success is a run of one job, made by its schedule or by the command."""

from typing import Any

from portal.archives.making import Archive
from portal.models import JobRun
from portal.work.jobs import claim_cycle

JOB = "portal.backup"


def result_of(archive: Archive) -> dict[str, Any]:
    """Return what is kept of an archive, as JSON."""
    return {"archive": archive.name, "bytes": archive.size, "rows": sum(archive.manifest.rows.values())}


def record_archive(archive: Archive) -> None:
    """Record an archive that the command made."""
    if lease := claim_cycle(JOB, archive.name):
        lease.finish(result_of(archive))


def newest_success() -> JobRun | None:
    return JobRun.objects.filter(job=JOB, status=JobRun.Status.DONE).order_by("-finished_at").first()
