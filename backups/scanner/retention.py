"""Retention of verified backups: the last ones, and one per day, week and month before them.

Failed cycles do not count, and the current version is never removed. Versions in doubt are counted separately, so that
they never push out one without doubts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner.disk import storage

Promotion = BackupEntry.Promotion


# A period without a backup uses up no version.
PERIODS: tuple[tuple[str, Callable[[datetime], Any]], ...] = (
    ("keep_daily", lambda moment: moment.date()),
    ("keep_weekly", lambda moment: moment.isocalendar()[:2]),
    ("keep_monthly", lambda moment: (moment.year, moment.month)),
)


def select_kept(moments: Sequence[datetime], job: ExpectedBackupJob) -> set[datetime]:
    """Return the moments that the job's policy keeps: the last ones, and the newest of each period."""
    newest_first = sorted(moments, reverse=True)
    keep = set(newest_first[: job.keep_last])
    for name, period_of in PERIODS:
        newest: dict[Any, datetime] = {}
        for moment in newest_first:
            newest.setdefault(period_of(moment), moment)
        keep.update(list(newest.values())[: getattr(job, name)])
    return keep


def list_expired(job: ExpectedBackupJob, stored: Sequence[BackupEntry]) -> list[BackupEntry]:
    keep = set[datetime]()
    for in_doubt in (False, True):
        keep |= select_kept([entry.cycle_at for entry in stored if entry.has_doubts == in_doubt], job)
    return [entry for entry in stored if entry.promotion == Promotion.ARCHIVED and entry.cycle_at not in keep]


def prune_versions(jobs: Iterable[ExpectedBackupJob]) -> None:
    """Remove expired versions of these jobs. The caller holds the machine's lease."""
    by_id = {job.pk: job for job in jobs}
    stored: dict[int, list[BackupEntry]] = {}
    for entry in BackupEntry.objects.stored().filter(job__in=by_id):
        stored.setdefault(entry.job_id, []).append(entry)
    expired = [entry for pk, entries in stored.items() for entry in list_expired(by_id[pk], entries)]
    gone = storage.remove_dumps([entry.stored_path for entry in expired])
    if removed := [entry.pk for entry in expired if entry.stored_path in gone]:
        BackupEntry.objects.filter(pk__in=removed).update(promotion=Promotion.REMOVED)
