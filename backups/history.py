"""Subjects and pages of expected backups, and their audit events in words."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups.models import ExpectedBackupJob
from portal.audit import EVENT_TEXTS, SUBJECTS, SubjectKind

LONGEST = 200

EVENT_TEXTS.update(
    {
        "expectedbackupjob.added": _("Added"),
        "expectedbackupjob.changed": _("Changed"),
        "expectedbackupjob.deleted": _("Deleted"),
        "backups.jobs_imported": _("Expected backups imported"),
        "backups.scan_asked": _("Scan requested"),
        "backups.paused": _("Paused"),
        "backups.resumed": _("Resumed"),
        "backups.reverify_asked": _("Re-verification requested"),
        "backups.drill_asked": _("Restore drill requested"),
        "backups.changes_accepted": _("Changes since the last proof accepted"),
        "drillassertion.added": _("Assertion added"),
        "drillassertion.changed": _("Assertion changed"),
        "drillassertion.deleted": _("Assertion deleted"),
        "backups.downloaded": _("Current version downloaded"),
    }
)


def find_job(text: str) -> dict[str, str]:
    """Return the filters for `machine/database`; no machine's name has a slash."""
    machine, _slash, database = text.partition("/")
    return {"agent_id": machine, "database_name": database}


SUBJECTS["backup"] = SubjectKind("backups.expectedbackupjob", find_job)


def job_subject(job: ExpectedBackupJob) -> str:
    """Return the subject that audit events and notices about a job share."""
    return f"backup:{job.agent_id}/{job.database_name}"[:LONGEST]


def job_url(job: ExpectedBackupJob) -> str:
    return reverse("admin:backups_expectedbackupjob_change", args=[job.pk])


def job_list_url(**query: str) -> str:
    return reverse("admin:backups_expectedbackupjob_changelist", query=query)
