"""Retention of verified backups: the last ones, and one per day, week and month before them.

Failed cycles do not count, and the current version is never removed. Versions in doubt are counted separately, so that
they never push out one without doubts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner.disk import storage

Promotion = BackupEntry.Promotion


@dataclass(frozen=True)
class RetentionPolicy:
    """Numbers of versions. A day, week or month without a backup uses none up."""

    last: int
    daily: int
    weekly: int
    monthly: int


PERIODS: tuple[tuple[str, Callable[[datetime], Any]], ...] = (
    ("daily", lambda moment: moment.date()),
    ("weekly", lambda moment: moment.isocalendar()[:2]),
    ("monthly", lambda moment: (moment.year, moment.month)),
)


def select_kept(moments: Sequence[datetime], policy: RetentionPolicy) -> set[datetime]:
    """Return the moments to keep: the newest of each period."""
    newest_first = sorted(moments, reverse=True)
    keep = set(newest_first[: policy.last])
    for name, period_of in PERIODS:
        newest: dict[Any, datetime] = {}
        for moment in newest_first:
            newest.setdefault(period_of(moment), moment)
        keep.update(list(newest.values())[: getattr(policy, name)])
    return keep


def list_expired(job: ExpectedBackupJob, stored: Sequence[BackupEntry]) -> list[BackupEntry]:
    """Return the versions of a job that its policy does not keep."""
    policy, keep = RetentionPolicy(job.keep_last, job.keep_daily, job.keep_weekly, job.keep_monthly), set[datetime]()
    for in_doubt in (False, True):
        keep |= select_kept([entry.cycle_at for entry in stored if entry.has_doubts == in_doubt], policy)
    return [entry for entry in stored if entry.promotion == Promotion.ARCHIVED and entry.cycle_at not in keep]


def prune_versions(jobs: Iterable[ExpectedBackupJob]) -> int:
    """Remove expired versions of these jobs, and return their number. The caller holds the machine's lease."""
    by_id = {job.pk: job for job in jobs}
    stored: dict[int, list[BackupEntry]] = {}
    for entry in BackupEntry.objects.stored().filter(job__in=by_id):
        stored.setdefault(entry.job_id, []).append(entry)
    expired = [entry for pk, entries in stored.items() for entry in list_expired(by_id[pk], entries)]
    gone = storage.remove_dumps([entry.stored_path for entry in expired])
    removed = [entry.pk for entry in expired if entry.stored_path in gone]
    if removed:
        BackupEntry.objects.filter(pk__in=removed).update(promotion=Promotion.REMOVED)
    return len(removed)
