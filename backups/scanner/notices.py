"""Notices about backups: one for each transition, sent in the transaction that records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from backups.history import job_list_url, job_subject, job_url
from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Status
from backups.reasons import Reason, format_reasons, format_warnings
from portal.notifications import Notice, Severity, State

if TYPE_CHECKING:
    from backups.scanner.examine import ExaminedCycle

# Warnings about the report rather than the content of the dump, sent as a note.
NOTIFIED_WARNINGS = frozenset({"overall_failed", "later_failed"})


def describe_job(job: ExpectedBackupJob) -> str:
    place = ", ".join(filter(None, [job.company_name, job.city]))
    name = f"{job.database_name} ({job.agent_id})"
    return f"{name}, {place}" if place else name


def job_notice(job: ExpectedBackupJob, severity: Severity, title: str, text: str, key: str, state: State) -> Notice:
    return Notice(
        subject=job_subject(job),
        severity=severity,
        title=title,
        text=text,
        dedupe_key=f"backup:{job.pk}:{key}",
        state=state,
        path=job_url(job),
    )


def verdict_notices(examined: ExaminedCycle) -> list[Notice]:
    """Return the notices of a verdict, and set the job's `alerted_severity` (None after a recovery)."""
    job, verdict, at = examined.job, examined.verdict, examined.cycle.at
    status = verdict.status or ""
    key = f"{at:%Y%m%dT%H%MZ}:{status}"
    words: dict[str, Any] = {
        "job": describe_job(job),
        "status": Status(status).label,
        "moment": f"{at:%Y-%m-%d %H:%M} UTC",
    }
    text = " ".join(filter(None, [format_reasons(verdict.reasons), format_warnings(verdict.warnings)]))
    if job.fails_as(status):
        severity = Severity.WARNING if status == Status.UNCHANGED else Severity.CRITICAL
        title = _("Backup of %(job)s: %(status)s, expected %(moment)s") % words
        job.alerted_severity = severity
        return [job_notice(job, severity, title, text, key, State.OPENED)]
    if status not in VERIFIED:
        return []
    if verdict.has_doubts:  # the recovery is announced with the next backup without doubts
        title = _("Backup of %(job)s is suspicious, expected %(moment)s") % words
        # The more severe of both is the smaller.
        job.alerted_severity = min(job.alerted_severity or Severity.WARNING, Severity.WARNING)
        return [job_notice(job, Severity.WARNING, title, text, f"{key}:doubts", State.OPENED)]
    if job.alerted_severity is not None:
        title = _("Backup of %(job)s recovered: %(status)s, expected %(moment)s") % words
        # As severe as what it closes, so that the same people get it.
        severity, job.alerted_severity = Severity(job.alerted_severity), None
        return [job_notice(job, severity, title, text, key, State.CLOSED)]
    if not NOTIFIED_WARNINGS.isdisjoint(verdict.warnings):
        title = _("Backup of %(job)s arrived with warnings, expected %(moment)s") % words
        codes = "+".join(sorted(NOTIFIED_WARNINGS.intersection(verdict.warnings)))
        return [job_notice(job, Severity.WARNING, title, text, f"{key}:{codes}", State.NOTE)]
    if status == Status.UNCHANGED and job.unchanged_policy == job.UnchangedPolicy.INFORM:
        title = _("Backup of %(job)s is unchanged, expected %(moment)s") % words
        return [job_notice(job, Severity.INFO, title, text, key, State.NOTE)]
    return []


def storage_notice(entry: BackupEntry, why: Reason) -> Notice:
    """Return the notice of a verified backup that could not be stored, once per entry and reason."""
    job = entry.job
    title = _("Backup of %(job)s was verified but not stored") % {"job": describe_job(job)}
    key = f"{entry.cycle_at:%Y%m%dT%H%MZ}:storage:{why['code']}"
    return job_notice(job, Severity.CRITICAL, title, format_reasons([why]), key, State.NOTE)


def damage_notice(job: ExpectedBackupJob, why: Reason, day: str) -> Notice:
    """Return the notice of a current version that is no longer what was verified, once a day."""
    title = _("Stored backup of %(job)s corrupted") % {"job": describe_job(job)}
    return job_notice(job, Severity.CRITICAL, title, format_reasons([why]), f"damage:{day}", State.NOTE)


def root_notice(is_missing: bool, key: str) -> Notice:
    """Return the one notice of a deposit root that disappeared or came back, however many backups are in it."""
    if is_missing:
        title, state = _("Upload area unavailable"), State.OPENED
        text = _(
            "No backup can be verified until it is back. Check that the disk is mounted. No backup was recorded as"
            " missing."
        )
    else:
        title, state, text = _("Upload area available again"), State.CLOSED, _("Backups are being verified again.")
    return Notice(
        subject="backups:deposit-root",
        severity=Severity.CRITICAL,
        title=title,
        text=text,
        dedupe_key=f"backups:deposit-root:{key}",
        state=state,
        path=job_list_url(),
    )
