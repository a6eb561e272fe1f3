"""Writing verdicts down: entries, what follows for their jobs, and what is told of it, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from backups.models import BackupEntry, ExpectedBackupJob, Status
from backups.scanner import tell
from backups.scanner.judge import SETTLED, Judged, judged_as
from portal.jobs import Lease
from portal.notifications import Notice, notify

Promotion = BackupEntry.Promotion
JOB_FIELDS = (
    "current_status",
    "status_since",
    "last_checked_at",
    "last_success_at",
    "last_verified_at",
    "previous_successful_hash",
    "settled_at",
)
ENTRY_FIELDS = (
    "status",
    "late",
    "reasons",
    "warnings",
    "agent_sha256",
    "agent_size",
    "server_sha256",
    "server_size",
    "report_name",
    "report_at",
    "staged_name",
    "judged",
    "promotion",
    "promotion_reason",
    "changed_at",
)


def record(judgements: Iterable[Judged], lease: Lease, now: datetime) -> list[Judged]:
    """Those that said something new. Raises LeaseLost, with nothing written, where another scanner has taken over."""
    judgements = list(judgements)
    news = [one for one in judgements if is_news(one)]
    with transaction.atomic():
        lease.extend()
        notices: list[Notice] = []
        fresh: list[BackupEntry] = []
        changed: list[BackupEntry] = []
        for one in news:
            before = one.job.current_status
            (changed if one.entry else fresh).append(entry_of(one, now))
            counts = follow(one, now)
            notices += tell.of_verdict(one, before) if counts and now >= one.job.created_at else []
        for one in judgements:
            one.job.last_checked_at = now
        BackupEntry.objects.bulk_create(fresh)
        BackupEntry.objects.write(changed, ENTRY_FIELDS)
        ExpectedBackupJob.objects.write({one.job.pk: one.job for one in judgements}.values(), JOB_FIELDS)
        notify(*notices)
    return news


def is_news(one: Judged) -> bool:
    """Whether the verdict says anything that is not on record."""
    if one.verdict.status is None:
        return False
    entry = one.entry
    facts, report = one.facts, one.facts.report
    return entry is None or (entry.status, entry.reasons, entry.report_name, entry.judged) != (
        one.verdict.status,
        list(one.verdict.reasons),
        report.name if report else "",
        judged_as(facts, one.measured.state) if one.measured and one.verdict.status not in SETTLED else None,
    )


def entry_of(one: Judged, now: datetime) -> BackupEntry:
    """The cycle's entry as the verdict has it: new, or the one there was, which keeps its first status."""
    status, claim, report = one.verdict.status or "", one.facts.claim, one.facts.report
    entry = one.entry or BackupEntry(job=one.job, cycle_at=one.cycle.at, first_status=status, recorded_at=now)
    came_late = one.verdict.late or (entry.first_status == Status.MISSING and status != Status.MISSING)
    measured = one.measured
    entry.status, entry.late, entry.changed_at = status, came_late, now
    entry.reasons, entry.warnings = list(one.verdict.reasons), list(one.verdict.warnings)
    entry.agent_sha256, entry.agent_size = (claim.sha256, claim.size) if claim else ("", None)
    entry.server_sha256, entry.server_size = (measured.sha256, measured.size) if measured else ("", None)
    entry.report_name, entry.report_at = (report.name, report.moment) if report else ("", None)
    entry.staged_name = one.staged_name
    entry.judged = judged_as(one.facts, measured.state) if measured and status not in SETTLED else None
    entry.promotion, entry.promotion_reason = Promotion.NONE, None
    if one.copy is not None:
        entry.promotion = Promotion.FAILED if one.copy.failure else Promotion.WAITING
        entry.promotion_reason = one.copy.failure
    one.past.entries[one.cycle.at] = entry
    return entry


def follow(one: Judged, now: datetime) -> bool:
    """What the verdict means for its job; whether it does, for an old moment's verdict changes no present state."""
    job, status, newest = one.job, one.verdict.status or "", one.past.newest
    if newest is not None and newest.cycle_at > one.cycle.at:
        return False
    if job.current_status != status:
        job.current_status, job.status_since = status, now
    taken_at = min(one.facts.report.moment, now) if one.facts.report else now
    if status in (Status.SUCCESS, Status.HASH_MISMATCH):
        job.last_verified_at = taken_at
    if status == Status.SUCCESS and one.measured is not None:
        job.last_success_at, job.previous_successful_hash = taken_at, one.measured.sha256
    if status in SETTLED:
        job.settled_at = one.cycle.at
    return True
