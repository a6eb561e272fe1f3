"""What people are told of backups: each transition once, in the transaction that records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.translation import gettext as _

from backups.history import subject
from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Status
from backups.reasons import Reason, sentences, warning_sentences
from portal.notifications import Notice, Severity, State

if TYPE_CHECKING:
    from backups.scanner.examine import Judged

# Warnings about what a machine reports, rather than about the content of the dump.
WORTH_A_MESSAGE = frozenset({"overall_failed", "later_failed"})


def name_of(job: ExpectedBackupJob) -> str:
    place = ", ".join(part for part in (job.company_name, job.city) if part)
    name = f"{job.database_name} ({job.agent_id})"
    return f"{name}, {place}" if place else name


def notice(job: ExpectedBackupJob, severity: Severity, title: str, text: str, key: str, state: State) -> Notice:
    return Notice(
        subject=subject(job),
        severity=severity,
        title=title,
        text=text,
        dedupe_key=f"backup:{job.pk}:{key}",
        state=state,
        path=reverse("admin:backups_expectedbackupjob_change", args=[job.pk]),
    )


def of_verdict(one: Judged) -> list[Notice]:
    """What is to be said of a verdict; notes at the job whether people now know of a failure."""
    job, status = one.job, one.verdict.status or ""
    key, moment = f"{one.cycle.at:%Y%m%dT%H%MZ}:{status}", f"{one.cycle.at:%Y-%m-%d %H:%M} UTC"
    about: dict[str, Any] = {"job": name_of(job), "status": Status(status).label, "moment": moment}
    text = " ".join(part for part in (sentences(one.verdict.reasons), warning_sentences(one.verdict.warnings)) if part)
    if job.fails_as(status):
        severity = Severity.WARNING if status == Status.HASH_MISMATCH else Severity.CRITICAL
        title = _("Backup of %(job)s: %(status)s, expected %(moment)s") % about
        job.alerted_severity = severity
        return [notice(job, severity, title, text, key, State.OPENED)]
    if status not in VERIFIED:
        return []
    if one.verdict.has_doubts:  # no recovery: that is announced once a backup without doubts has come
        title = _("Backup of %(job)s is suspicious, expected %(moment)s") % about
        job.alerted_severity = min(job.alerted_severity or Severity.WARNING, Severity.WARNING)
        return [notice(job, Severity.WARNING, title, text, f"{key}:doubts", State.OPENED)]
    if job.alerted_severity is not None:
        title = _("Backup of %(job)s recovered: %(status)s, expected %(moment)s") % about
        # As severe as what it closes: who was told of that is told of this.
        severity, job.alerted_severity = Severity(job.alerted_severity), None
        return [notice(job, severity, title, text, key, State.CLOSED)]
    if not WORTH_A_MESSAGE.isdisjoint(one.verdict.warnings):
        title = _("Backup of %(job)s arrived with warnings, expected %(moment)s") % about
        codes = "+".join(sorted(WORTH_A_MESSAGE.intersection(one.verdict.warnings)))
        return [notice(job, Severity.WARNING, title, text, f"{key}:{codes}", State.NOTE)]
    if status == Status.HASH_MISMATCH and job.unchanged_policy == job.UnchangedPolicy.INFORM:
        title = _("Backup of %(job)s is unchanged, expected %(moment)s") % about
        return [notice(job, Severity.INFO, title, text, key, State.NOTE)]
    return []


def of_storage(entry: BackupEntry, why: Reason) -> Notice:
    """A verified backup that could not be stored; said once per entry and reason."""
    job = entry.job
    title = _("Backup of %(job)s was verified, but is not stored") % {"job": name_of(job)}
    key = f"{entry.cycle_at:%Y%m%dT%H%MZ}:storage:{why['code']}"
    return notice(job, Severity.CRITICAL, title, sentences([why]), key, State.NOTE)


def of_damage(job: ExpectedBackupJob, why: Reason, day: str) -> Notice:
    """The current version is no longer what was verified; said once a day."""
    title = _("The stored backup of %(job)s is damaged") % {"job": name_of(job)}
    return notice(job, Severity.CRITICAL, title, sentences([why]), f"damage:{day}", State.NOTE)


def of_root(is_missing: bool, key: str) -> Notice:
    """The deposit root is gone, or there again: one message, whatever number of backups is expected in it."""
    if is_missing:
        title, state = _("The deposit area is not there"), State.OPENED
        text = _("No backup can be looked at until it is: is the disk mounted? Nothing was recorded as missing.")
    else:
        title, state, text = _("The deposit area is there again"), State.CLOSED, _("Backups are looked at again.")
    return Notice(
        subject="backups:deposit-root",
        severity=Severity.CRITICAL,
        title=title,
        text=text,
        dedupe_key=f"backups:deposit-root:{key}",
        state=state,
        path=reverse("admin:backups_expectedbackupjob_changelist"),
    )
