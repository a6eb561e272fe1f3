"""Writing verdicts down: entries, what follows for their jobs, and what is told of it, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Status
from backups.querysets import STORED
from backups.scanner.disk import copying
from backups.scanner.examine import SETTLED, Judged
from backups.scanner.notices import of_verdict
from portal.notifications import Notice, notify
from portal.work.jobs import Lease

Promotion = BackupEntry.Promotion
JOB_FIELDS = (
    "current_status",
    "status_since",
    "last_checked_at",
    "last_success_at",
    "last_verified_at",
    "in_doubt",
    "previous_successful_hash",
    "settled_at",
    "alerted_severity",
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
    "steps",
    "judged",
    "promotion",
    "promotion_reason",
    "stored_path",
    "changed_at",
)


def record(judgements: Iterable[Judged], lease: Lease, now: datetime) -> list[Judged]:
    """Those that said something new. Raises LeaseLost, with nothing written, where another scanner has taken over."""
    judgements = list(judgements)
    with transaction.atomic():
        lease.extend()
        judgements = still_expected(judgements)
        notices: list[Notice] = []
        fresh: list[BackupEntry] = []
        changed: list[BackupEntry] = []
        news = [one for one in judgements if is_news(one)]
        for one in news:
            (changed if one.entry else fresh).append(entry_of(one, now))
            if follow(one, now) and now >= one.job.created_at:
                notices += of_verdict(one)
        for one in judgements:
            one.job.last_checked_at = now
        BackupEntry.objects.bulk_create(fresh)
        BackupEntry.objects.write(changed, ENTRY_FIELDS)
        ExpectedBackupJob.objects.write({one.job.pk: one.job for one in judgements}.values(), JOB_FIELDS)
        notify(*notices)
    return news


def still_expected(judgements: list[Judged]) -> list[Judged]:
    """Without those whose job an operator has deleted meanwhile."""
    ids = {one.job.pk for one in judgements}
    left = set(ExpectedBackupJob.objects.filter(pk__in=ids).values_list("pk", flat=True))
    for one in judgements:
        if one.job.pk not in left and one.copy is not None:
            one.copy.discard()
            one.copy = None
    return [one for one in judgements if one.job.pk in left]


def is_news(one: Judged) -> bool:
    """Whether the verdict says anything that is not on record."""
    entry = one.entry
    if one.verdict.status is None or (entry is not None and one.verdict.status == Status.UNVERIFIED):
        return False  # a failure on record is not made unsure by what was deposited later
    if entry is None:
        return True
    report_name = one.facts.report.name if one.facts.report else ""
    said = (one.verdict.status, list(one.verdict.reasons), one.known_by)
    is_same_report = one.keeps or entry.report_name == report_name
    return not is_same_report or (entry.status, entry.reasons, entry.judged) != said


def entry_of(one: Judged, now: datetime) -> BackupEntry:
    """The cycle's entry as the verdict has it: new, or the one there was, which keeps its first status."""
    status, claim, report = one.verdict.status or "", one.facts.claim, one.facts.report
    entry = one.entry or BackupEntry(job=one.job, cycle_at=one.cycle.at, first_status=status, recorded_at=now)
    if one.keeps:
        entry.reasons, entry.warnings = list(one.verdict.reasons), list(one.verdict.warnings)
        entry.judged, entry.changed_at = one.known_by, now
        return entry
    came_late = one.verdict.late or (entry.first_status == Status.MISSING and status != Status.MISSING)
    if entry.is_good:
        came_late = entry.late  # the first of two good backups decides
    measured = one.measured
    was_stored = entry.promotion in STORED
    is_same = was_stored and measured is not None and measured.sha256 == entry.server_sha256
    if was_stored and not is_same:
        one.past.superseded.add(entry.stored_path)
    entry.status, entry.late, entry.changed_at = status, came_late, now
    entry.reasons, entry.warnings = list(one.verdict.reasons), list(one.verdict.warnings)
    entry.agent_sha256, entry.agent_size = (claim.sha256, claim.size) if claim else ("", None)
    entry.server_sha256, entry.server_size = (measured.sha256, measured.size) if measured else ("", None)
    entry.report_name, entry.report_at = (report.name, report.moment) if report else ("", None)
    entry.staged_name, entry.steps = one.staged_name, dict(claim.steps) if claim else {}
    entry.judged = one.known_by
    if not is_same:
        entry.promotion, entry.promotion_reason = Promotion.NONE, None
    if one.copy is not None:
        entry.promotion = Promotion.FAILED if one.copy.failure else Promotion.WAITING
        entry.promotion_reason = one.copy.failure
        entry.stored_path = copying.current_path(one.job, one.staged_name)
    one.past.entries[one.cycle.at] = entry
    return entry


def follow(one: Judged, now: datetime) -> bool:
    """What the verdict means for its job; whether it is the latest, for an older one changes no present status.

    A dump in doubt is no good backup: it leaves open whether the database is protected.
    """
    is_latest = not one.past.has_later(one.cycle, lambda entry: True)
    if one.keeps:
        return is_latest
    job, status, has_doubts = one.job, one.verdict.status or "", one.verdict.has_doubts
    taken_at = min(one.facts.report.moment, now) if one.facts.report else now
    if status in VERIFIED and not has_doubts:
        if not one.past.has_later(one.cycle, lambda entry: entry.is_good):
            job.last_verified_at = taken_at
        is_newest = not one.past.has_later(one.cycle, lambda entry: entry.is_good and entry.status == Status.SUCCESS)
        if status == Status.SUCCESS and one.measured is not None and is_newest:
            job.last_success_at, job.previous_successful_hash = taken_at, one.measured.sha256
    if not is_latest:
        return False
    if job.current_status != status:
        job.current_status, job.status_since = status, now
    job.in_doubt = status in VERIFIED and has_doubts
    if status in SETTLED and not has_doubts:
        job.settled_at = one.cycle.at
    return True
