"""Search sources: expected backups."""

from django.utils.translation import gettext_lazy as _

from backups.models import ExpectedBackupJob
from portal.desk.search import Source, sources


def describe_job(job: ExpectedBackupJob) -> str:
    return " · ".join(part for part in (job.agent_id, job.company_name) if part)


sources.register(
    Source(
        ExpectedBackupJob,
        ("database_name", "agent_id", "company_name"),
        name=lambda job: job.database_name,
        detail=describe_job,
        title=_("databases"),
    )
)
