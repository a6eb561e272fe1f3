"""Record verdicts: entries, the state of their jobs, and notices, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Status
from backups.querysets import STORED
from backups.scanner.examine import SETTLED, ExaminedCycle
from backups.scanner.notices import verdict_notices
from portal.notifications import Notice, notify
from portal.work.jobs import Lease

Promotion = BackupEntry.Promotion
JOB_FIELDS = (
    "current_status", "status_since", "last_checked_at", "last_success_at", "last_verified_at", "in_doubt",
    "previous_successful_hash", "settled_at", "alerted_severity",
)  # fmt: skip
ENTRY_FIELDS = (
    "status", "late", "reasons", "warnings", "agent_sha256", "agent_size", "server_sha256", "server_size",
    "report_name", "report_at", "staged_name", "steps", "judged", "promotion", "promotion_reason", "stored_path",
    "changed_at",
)  # fmt: skip


def record_verdicts(batch: Iterable[ExaminedCycle], lease: Lease, now: datetime) -> int:
    """Write the verdicts that add information, and return their number.

    Raises LeaseLost, with nothing written, if another scanner has taken over.
    """
    batch = list(batch)
    with transaction.atomic():
        lease.extend()
        batch = drop_deleted_jobs(batch)
        notices: list[Notice] = []
        created: list[BackupEntry] = []
        changed: list[BackupEntry] = []
        news = [examined for examined in batch if adds_information(examined)]
        for examined in news:
            (changed if examined.entry else created).append(update_entry(examined, now))
            if update_job(examined, now) and now >= examined.job.created_at:
                notices += verdict_notices(examined)
        for examined in batch:
            examined.job.last_checked_at = now
        BackupEntry.objects.bulk_create(created)
        BackupEntry.objects.write_fields(changed, ENTRY_FIELDS)
        jobs = {examined.job.pk: examined.job for examined in batch}
        ExpectedBackupJob.objects.write_fields(jobs.values(), JOB_FIELDS)
        notify(*notices)
    return len(news)


def drop_deleted_jobs(batch: list[ExaminedCycle]) -> list[ExaminedCycle]:
    """Leave out verdicts on jobs that an operator has deleted meanwhile."""
    ids = {examined.job.pk for examined in batch}
    existing = set(ExpectedBackupJob.objects.filter(pk__in=ids).values_list("pk", flat=True))
    for examined in batch:
        if examined.job.pk not in existing:
            examined.discard_copy()
    return [examined for examined in batch if examined.job.pk in existing]


def adds_information(examined: ExaminedCycle) -> bool:
    """Return True if the verdict differs from the recorded one. UNVERIFIED never replaces a recorded failure."""
    entry, verdict = examined.entry, examined.verdict
    if verdict.status is None or (entry is not None and verdict.status == Status.UNVERIFIED):
        return False
    if entry is None:
        return True
    report_name = examined.facts.report.name if examined.facts.report else ""
    is_same_report = examined.keeps_entry or entry.report_name == report_name
    is_same_verdict = (entry.status, entry.reasons, entry.judged) == (
        verdict.status,
        list(verdict.reasons),
        examined.bad_file_key,
    )
    return not (is_same_report and is_same_verdict)


def update_entry(examined: ExaminedCycle, now: datetime) -> BackupEntry:
    """Return the cycle's entry with the verdict: a new one, or the recorded one, which keeps its first status."""
    verdict, claim, report = examined.verdict, examined.facts.claim, examined.facts.report
    status = verdict.status or ""
    entry = examined.entry or BackupEntry(
        job=examined.job, cycle_at=examined.cycle.at, first_status=status, recorded_at=now
    )
    was_late = entry.late if entry.is_good else None  # the first of two good backups decides
    entry.reasons, entry.warnings = list(verdict.reasons), list(verdict.warnings)
    entry.judged, entry.changed_at = examined.bad_file_key, now
    if examined.keeps_entry:
        return entry
    came_late = verdict.late or (entry.first_status == Status.MISSING and status != Status.MISSING)
    measured = examined.measured
    was_stored = entry.promotion in STORED
    is_same = was_stored and measured is not None and measured.sha256 == entry.server_sha256
    if was_stored and not is_same:
        examined.history.superseded.add(entry.stored_path)
    entry.status, entry.late = status, came_late if was_late is None else was_late
    entry.agent_sha256, entry.agent_size = (claim.sha256, claim.size) if claim else ("", None)
    entry.server_sha256, entry.server_size = (measured.sha256, measured.size) if measured else ("", None)
    entry.report_name, entry.report_at = (report.name, report.moment) if report else ("", None)
    entry.staged_name, entry.steps = examined.staged_name, dict(claim.steps) if claim else {}
    if not is_same:
        entry.promotion, entry.promotion_reason = Promotion.NONE, None
    if examined.copy is not None:
        entry.promotion = Promotion.FAILED if examined.copy.failure else Promotion.WAITING
        entry.promotion_reason, entry.stored_path = examined.copy.failure, examined.copy.path
    examined.history.entries[examined.cycle.at] = entry
    return entry


def update_job(examined: ExaminedCycle, now: datetime) -> bool:
    """Apply the verdict to its job. Return True for the latest cycle: an older one never changes the present status.

    A dump in doubt does not count as a good backup.
    """
    job, history, cycle, verdict = examined.job, examined.history, examined.cycle, examined.verdict
    is_latest = not history.has_later_entry(cycle, lambda entry: True)
    if examined.keeps_entry:
        return is_latest
    status, report = verdict.status or "", examined.facts.report
    taken_at = min(report.moment, now) if report else now
    if status in VERIFIED and not verdict.has_doubts:
        if not history.has_later_entry(cycle, lambda entry: entry.is_good):
            job.last_verified_at = taken_at
        has_later_success = history.has_later_entry(
            cycle, lambda entry: entry.is_good and entry.status == Status.SUCCESS
        )
        if status == Status.SUCCESS and examined.measured is not None and not has_later_success:
            job.last_success_at, job.previous_successful_hash = taken_at, examined.measured.sha256
    if not is_latest:
        return False
    in_doubt = status in VERIFIED and verdict.has_doubts
    if (job.current_status, job.in_doubt) != (status, in_doubt):
        job.current_status, job.in_doubt, job.status_since = status, in_doubt, now
    if status in SETTLED and not verdict.has_doubts:
        job.settled_at = cycle.at
    return True
