"""Retention of off-site copies: they follow the local versions, and are locked for as long as those are sure to stay.

A good copy is removed only after another good copy of its database was verified in the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, takewhile

from django.db.models import QuerySet

from backups.cycles import expected_times
from backups.models import BackupEntry, ExpectedBackupJob, OffsiteCopy
from backups.scanner.retention import select_kept

# How far ahead a lock is computed, and how many backups that may be.
HORIZON, MOST_CYCLES = timedelta(days=400), 400
UNSTORED_FOR_GOOD = (BackupEntry.Promotion.REMOVED, BackupEntry.Promotion.NONE)


def find_lock_end(
    cycle_at: datetime, stored: Sequence[datetime], coming: Iterable[datetime], job: ExpectedBackupJob
) -> datetime:
    """Return the time until which the job's policy keeps a version, if every coming backup arrives.

    The version may stay longer: a backup that does not arrive pushes nothing out.
    """
    kept, until = {*stored, cycle_at}, cycle_at
    for until in coming:
        kept = select_kept([*kept, until], job)
        if cycle_at not in kept:
            break
    return until


def lock_end(entry: BackupEntry, now: datetime) -> datetime:
    """Return the end of the lock on the copy of a stored entry, in the future by at least a minute."""
    job = entry.job
    of_job = BackupEntry.objects.filter(job=job).stored()
    alike = [other.cycle_at for other in of_job if other.has_doubts == entry.has_doubts]
    return max(find_lock_end(entry.cycle_at, alike, coming_times(job, now), job), now + timedelta(minutes=1))


def coming_times(job: ExpectedBackupJob, now: datetime) -> Iterator[datetime]:
    times = (moment for moment in expected_times(job.timetable, now, 1) if moment > now)
    return islice(takewhile(lambda moment: moment <= now + HORIZON, times), MOST_CYCLES)


def list_removable(place: str, now: datetime) -> Iterator[OffsiteCopy]:
    """Yield the copies of versions that retention removed here, except the last good one of a database."""
    rows = OffsiteCopy.objects.due(now).filter(entry__promotion__in=UNSTORED_FOR_GOOD, place=place)
    for copy in rows.exclude(locked_until__gt=now).select_related("entry").order_by("entry__cycle_at"):
        if not needs_another(copy) or other_good_copies(copy).exists():
            yield copy


def needs_another(copy: OffsiteCopy) -> bool:
    """Return True for a good copy, even if it seems to be lost: the store may be wrong about that."""
    return copy.entry.is_good and (copy.state == OffsiteCopy.State.COPIED or copy.loss != "")


def other_good_copies(copy: OffsiteCopy) -> QuerySet[OffsiteCopy]:
    """Select the other good copies of the database, as far as they were verified before, the newest first."""
    good = BackupEntry.objects.good().filter(job=copy.entry.job_id).exclude(pk=copy.entry_id)
    copies = OffsiteCopy.objects.copied().filter(entry__in=good, place=copy.place)
    return copies.select_related("entry").order_by("-entry__cycle_at")
