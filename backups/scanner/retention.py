"""How many verified backups of a database are kept: the last ones, and one a day, week and month further back.

Failed cycles are never counted, and the current version never goes. Versions in doubt are counted among themselves, so
that they never push out one without doubts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner.disk import copying

Promotion = BackupEntry.Promotion


@dataclass(frozen=True)
class Policy:
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


def kept(moments: Sequence[datetime], policy: Policy) -> set[datetime]:
    """Which of the moments are kept. Of a period, the newest."""
    newest_first = sorted(moments, reverse=True)
    keep = set(newest_first[: policy.last])
    for name, period_of in PERIODS:
        newest_of: dict[Any, datetime] = {}
        for moment in newest_first:
            newest_of.setdefault(period_of(moment), moment)
        keep.update(list(newest_of.values())[: getattr(policy, name)])
    return keep


def policy_of(job: ExpectedBackupJob) -> Policy:
    return Policy(job.keep_last, job.keep_daily, job.keep_weekly, job.keep_monthly)


def superfluous(job: ExpectedBackupJob, stored: Sequence[BackupEntry]) -> list[BackupEntry]:
    """The versions of a job that may go."""
    policy, keep = policy_of(job), set[datetime]()
    for in_doubt in (False, True):
        keep |= kept([entry.cycle_at for entry in stored if entry.has_doubts == in_doubt], policy)
    return [entry for entry in stored if entry.promotion == Promotion.ARCHIVED and entry.cycle_at not in keep]


def prune(jobs: Iterable[ExpectedBackupJob]) -> int:
    """Removes what may go of these jobs; the number of versions removed. For whoever holds the machine's lease."""
    by_id = {job.pk: job for job in jobs}
    stored: dict[int, list[BackupEntry]] = {}
    for entry in BackupEntry.objects.stored().filter(job__in=by_id):
        stored.setdefault(entry.job_id, []).append(entry)
    removed = []
    for pk, entries in stored.items():
        removed += [entry.pk for entry in superfluous(by_id[pk], entries) if copying.remove(entry.stored_path)]
    if removed:
        BackupEntry.objects.filter(pk__in=removed).update(promotion=Promotion.REMOVED)
    return len(removed)
