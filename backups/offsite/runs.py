"""Runs that bring the off-site copies up to date: in short turns, so that scans and drills get the workers between."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from backups.models import BackupEntry, OffsiteCopy
from backups.offsite import copying, retention
from backups.offsite.copying import LOCAL_ERRORS, Run, TimeUp
from backups.querysets import STORED
from portal.egress import s3
from portal.work.jobs import AlreadyRunning, exclusive_lease
from portal.work.queue import enqueue, queued_calls

log = logging.getLogger("vigie.backups")
TASK = LEASE = "backups.offsite"
# A part of 16 MiB may take this long on a slow line.
LEASE_LENGTH = timedelta(minutes=30)
PATIENCE = timedelta(seconds=5)  # for a run that has just queued this one
RETRY_LOCAL_AFTER = timedelta(hours=6)
VERIFY_EVERY = timedelta(days=7)
READ_BACK_PER_DAY = 50 * 1024**3
ABANDONED_AFTER = timedelta(days=1)
State = OffsiteCopy.State


def queue_due() -> int:
    """Note which versions have no copy, and queue a run if anything is due. Return the number of missing copies."""
    if settings.OFFSITE_URL is None:
        return 0
    now, place = timezone.now(), settings.OFFSITE_URL.place
    note_versions(place, now)
    is_due = due(now).exists() or unverified(place, now).exists() or any(retention.list_removable(place, now))
    if is_due and not queued_calls(TASK, claimed=True):
        enqueue(TASK, cluster="slow")
    return OffsiteCopy.objects.missing().count()


def note_versions(place: str, now: datetime) -> None:
    """Give each stored version a row. Copies of a replaced dump, or in another store than `place`, are missing."""
    new = BackupEntry.objects.stored().filter(offsite_copy=None).values_list("pk", flat=True)
    OffsiteCopy.objects.bulk_create([OffsiteCopy(entry_id=pk, since=now) for pk in new], ignore_conflicts=True)
    removed = OffsiteCopy.objects.filter(entry__promotion__in=retention.UNSTORED_FOR_GOOD).exclude(place=place)
    OffsiteCopy.objects.filter(pk__in=list(removed.values_list("pk", flat=True))).delete()
    elsewhere = ~Q(place=place) | ~Q(sha256=F("entry__server_sha256"))
    outdated = OffsiteCopy.objects.copied().filter(elsewhere, entry__promotion__in=STORED).values_list("pk", flat=True)
    OffsiteCopy.objects.filter(pk__in=list(outdated)).update(state=State.PENDING, since=now, tried_at=None)


def due(now: datetime) -> QuerySet[OffsiteCopy]:
    """Select the missing copies, those first that were not tried yet, of these the current and newest versions."""
    waiting = Q(error__in=LOCAL_ERRORS, tried_at__gte=now - RETRY_LOCAL_AFTER)
    missing = OffsiteCopy.objects.missing().exclude(waiting).select_related("entry__job")
    is_current = F("entry__promotion").desc()  # promoted, then archived
    return missing.order_by(F("tried_at").asc(nulls_first=True), is_current, "-entry__cycle_at")


def unverified(place: str, now: datetime) -> QuerySet[OffsiteCopy]:
    return OffsiteCopy.objects.copied().filter(place=place, verified_at__lt=now - VERIFY_EVERY).order_by("verified_at")


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
                record_failure(error)
    except AlreadyRunning:
        pass  # whoever holds the lease finds what is due


def work_off(run: Run) -> None:
    """Remove what retention removed here, which may free a full store; then copy and verify.

    Raises StoreError, TimeUp and LeaseLost.
    """
    started = timezone.now()
    note_versions(run.place, started)
    run.store.check()
    for copy in retention.list_removable(run.place, started):
        run.check_time()
        copying.remove_copy(copy, run)
    for copy in untried(started):
        run.check_time()
        copy_next(copy, run)
    for copy in to_verify(run.place, started):
        run.check_time()
        copying.verify_copy(copy, run)
    abort_abandoned(run, started)
    if due(started).filter(tried_at=None).exists():
        raise TimeUp  # lost copies were found


def untried(started: datetime) -> Iterator[OffsiteCopy]:
    """Yield each missing copy once, the most urgent first, as the rows are when its turn comes."""
    while copy := due(started).filter(Q(tried_at=None) | Q(tried_at__lt=started)).first():
        yield copy


def copy_next(copy: OffsiteCopy, run: Run) -> None:
    """Copy a version. After an error of the store another version is the first to be tried. Raises StoreError."""
    try:
        is_copied = copying.copy_version(copy, run)
    except s3.StoreError:
        OffsiteCopy.objects.filter(pk=copy.pk).update(tried_at=timezone.now())
        raise
    if is_copied:  # so the store works again
        recovered = OffsiteCopy.objects.filter(state=State.FAILED).exclude(error__in=LOCAL_ERRORS)
        recovered.update(state=State.PENDING, error="", error_code="", failed_since=None, tried_at=None)


def to_verify(place: str, now: datetime) -> Iterator[OffsiteCopy]:
    """Yield copies to verify. Those that have to be read back are read up to READ_BACK_PER_DAY."""
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
    wanted = {copying.copy_key(copy.entry) for copy in OffsiteCopy.objects.missing().select_related("entry")}
    for upload in run.store.uploads():
        if upload.key not in wanted and upload.started_at < now - ABANDONED_AFTER:
            run.store.abort(upload)


def record_failure(error: s3.StoreError) -> None:
    """Record why the store takes nothing, in all rows that wait for it."""
    log.warning("off-site copies: the store failed: %s", error)
    missing = OffsiteCopy.objects.missing().exclude(error__in=LOCAL_ERRORS)
    now = timezone.now()
    missing.exclude(state=State.FAILED, error=error.word).update(
        state=State.FAILED, error=error.word, error_code=error.code, failed_since=now
    )
