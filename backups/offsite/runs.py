"""Runs that bring the off-site copies up to date: in short turns, so that scans and drills get the workers between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from backups.models import BackupEntry, OffsiteCopy
from backups.offsite import copying, retention
from backups.offsite.copying import LOCAL_ABSENT, LOCAL_DIFFERS, LOCAL_UNREADABLE, LocalError, Run, TimeUp
from backups.offsite.standing import VERIFY_EVERY
from backups.querysets import STORED
from portal.egress import s3
from portal.work.jobs import AlreadyRunning, exclusive_lease
from portal.work.queue import enqueue, queued_calls

log = logging.getLogger("vigie.backups")
TASK = LEASE = "backups.offsite"
# A call with a part of 16 MiB, repeated twice, may take this long on a slow line.
LEASE_LENGTH = timedelta(minutes=30)
PATIENCE = timedelta(seconds=5)  # for a run that has just queued this one
READ_BACK_PER_DAY = 50 * 1024**3
ABANDONED_AFTER = timedelta(days=1)
AHEAD = timedelta(days=2)  # no `retry_at` is that late
State = OffsiteCopy.State


def queue_due() -> int:
    """Note which versions have no copy, and queue a run if anything is due. Return the number of missing copies."""
    if settings.OFFSITE_URL is None:
        return 0
    now, place = timezone.now(), settings.OFFSITE_URL.place
    correct_times(now)
    note_versions(place, now)
    is_due = missing(now).exists() or unverified(place, now).exists() or any(retention.list_removable(place, now))
    if is_due and not queued_calls(TASK, claimed=True):
        enqueue(TASK, cluster="slow")
    return OffsiteCopy.objects.missing().count()


def correct_times(now: datetime) -> None:
    """Make due what a clock that was ahead dated so late that nothing would be tried or reported for long."""
    unknown = {"since": now, "failed_since": now, "retry_at": None, "verified_at": now - VERIFY_EVERY - AHEAD}
    for name, value in unknown.items():
        OffsiteCopy.objects.filter(**{f"{name}__gt": now + AHEAD}).update(**{name: value})


def note_versions(place: str, now: datetime) -> None:
    """Give each stored version a row. Copies of a replaced dump, or in another store than `place`, are missing."""
    new = BackupEntry.objects.stored().filter(offsite_copy=None).values_list("pk", flat=True)
    OffsiteCopy.objects.bulk_create([OffsiteCopy(entry_id=pk, since=now) for pk in new], ignore_conflicts=True)
    removed = OffsiteCopy.objects.filter(entry__promotion__in=retention.UNSTORED_FOR_GOOD).exclude(place=place)
    OffsiteCopy.objects.filter(pk__in=list(removed.values_list("pk", flat=True))).delete()
    elsewhere = ~Q(place=place) | ~Q(sha256=F("entry__server_sha256"))
    outdated = OffsiteCopy.objects.copied().filter(elsewhere, entry__promotion__in=STORED).values_list("pk", flat=True)
    forgotten = copying.NO_FAILURE | {"retry_at": None, "loss": "", "lost_at": None}
    OffsiteCopy.objects.filter(pk__in=list(outdated)).update(state=State.PENDING, since=now, **forgotten)


def missing(now: datetime) -> QuerySet[OffsiteCopy]:
    """Select the missing copies that are due: those that never failed first, of these the current and newest ones."""
    is_current = F("entry__promotion").desc()  # promoted, then archived
    found = OffsiteCopy.objects.missing().due(now).select_related("entry__job")
    return found.order_by(F("retry_at").asc(nulls_first=True), is_current, "-entry__cycle_at")


def unverified(place: str, now: datetime) -> QuerySet[OffsiteCopy]:
    """Select the copies to verify, among them lost ones that can't be copied again."""
    old = OffsiteCopy.objects.copied().filter(verified_at__lt=now - VERIFY_EVERY)
    return (old | OffsiteCopy.objects.lost()).due(now).filter(place=place).order_by("verified_at")


def run_due() -> None:
    """Do what is due, unless another process does. What is left goes to the end of the queue."""
    if settings.OFFSITE_URL is None:
        return
    try:
        with exclusive_lease(LEASE, LEASE_LENGTH, PATIENCE) as lease:
            run = Run(s3.Store(settings.OFFSITE_URL), lease)
            try:
                work_off(run)
            except TimeUp:
                enqueue(TASK, cluster="slow")
            except s3.StoreError as error:
                record_outage(error, run.place)
            except LocalError as error:
                log.warning("off-site copies: the stored files can't be read: %s", error)
    except AlreadyRunning:
        pass  # whoever holds the lease finds what is due


def work_off(run: Run) -> None:
    """Remove what retention removed here, which may free a full store; then copy and verify.

    Raises StoreError if the store as a whole fails, LocalError if this machine does, TimeUp and LeaseLost.
    """
    started = timezone.now()
    correct_times(started)
    note_versions(run.place, started)
    run.store.check()
    for copy in retention.list_removable(run.place, started):
        attempt(copying.remove_copy, copy, run)
    while waiting := missing(started).first():
        attempt(copying.copy_version, waiting, run)
    for copy in list_unverified(run.place, started):
        attempt(copying.verify_copy, copy, run)
    abort_abandoned(run, started)
    if missing(timezone.now()).exists():
        raise TimeUp  # lost copies were found


def attempt(action: Callable[[OffsiteCopy, Run], Any], copy: OffsiteCopy, run: Run) -> None:
    """Do one thing with one copy. A failure delays this copy alone, unless the store or the machine fails as a whole.

    Raises StoreError, LocalError, TimeUp and LeaseLost.
    """
    run.check_time()
    try:
        action(copy, run)
    except s3.StoreError as error:
        log.warning("off-site copies: %s failed for the backup %s: %s", action.__name__, copy.entry_id, error)
        copying.record_failure(copy, error)
        run.store.check()
    except LocalError as error:
        if not copying.is_moved(copy):
            copying.record_failure(copy, error)
        if error.word == LOCAL_UNREADABLE:
            raise


def list_unverified(place: str, now: datetime) -> Iterator[OffsiteCopy]:
    """Yield the copies to verify. Those that have to be read back are read up to READ_BACK_PER_DAY."""
    lately = OffsiteCopy.objects.filter(was_read_back=True, verified_at__gte=now - timedelta(days=1))
    left = READ_BACK_PER_DAY - (lately.aggregate(size=Sum("size"))["size"] or 0)
    for copy in unverified(place, now).select_related("entry"):
        if copy.was_read_back:
            if left <= 0:
                continue
            left -= copy.size or 0
        yield copy


def abort_abandoned(run: Run, now: datetime) -> None:
    """Abort uploads of a day ago that no missing copy resumes. They would be paid for without end."""
    found = OffsiteCopy.objects.missing().select_related("entry").defer("digests")
    wanted = {copying.copy_key(copy.entry) for copy in found}
    try:
        for upload in run.store.uploads():
            if upload.key not in wanted and upload.started_at < now - ABANDONED_AFTER:
                run.store.abort(upload)
    except s3.StoreError as error:
        log.warning("off-site copies: abandoned uploads can't be aborted: %s", error)


def record_outage(error: s3.StoreError, place: str) -> None:
    """Record why the store can't be used, in all rows that wait for it. They are due as soon as it can."""
    log.warning("off-site copies: the store failed: %s", error)
    now = timezone.now()
    why = {"error": error.word, "error_code": error.code, "failed_since": Coalesce("failed_since", Value(now))}
    missing = OffsiteCopy.objects.missing().exclude(error__in=(LOCAL_ABSENT, LOCAL_DIFFERS, LOCAL_UNREADABLE))
    missing.update(state=State.FAILED, **why)
    unverified(place, now).update(**why)
