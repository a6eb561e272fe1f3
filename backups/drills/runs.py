"""Drills of stored backups: which are due, one after the other, and of any file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from backups.drills import children, proofs
from backups.drills.assertions import Assertion
from backups.drills.children import PrivateServer
from backups.drills.outcomes import FAILED, Outcome, SandboxUnavailable
from backups.models import BackupEntry, ExpectedBackupJob, RestoreDrill
from backups.querysets import watched
from backups.reasons import format_error, make_reason
from backups.scanner.disk.opening import UnusablePath
from backups.scanner.disk.storage import open_dump
from portal.work.jobs import AlreadyRunning, Lease, LeaseLost, exclusive_lease
from portal.work.queue import enqueue, queued_calls

log = logging.getLogger("vigie.backups")
# A task waits a few seconds for a run that is just ending.
PATIENCE, TASK_PATIENCE = timedelta(minutes=30), timedelta(seconds=5)
LEASE, TASK = "backups.drill", "backups.drills"
LEASE_LENGTH = timedelta(minutes=5)
SAVED_EVERY = 2.0
# No further drill is begun after so long, so that a task with the longest drill ends before its time is up.
BUDGET_SECONDS = 1_200


def stored_version() -> Exists:
    return Exists(BackupEntry.objects.filter(job=OuterRef("pk"), promotion=BackupEntry.Promotion.PROMOTED))


def due(now: datetime) -> QuerySet[ExpectedBackupJob]:
    """Select the jobs whose current version should be restored now: requested ones first, then the oldest proof."""
    planned = watched(now) & Q(next_drill_at__lte=now, drill_every_days__gt=0)
    jobs = ExpectedBackupJob.objects.filter(planned | Q(drill_requested_at__isnull=False))
    oldest_first = (F("drill_requested_at").asc(nulls_last=True), F("proven_at").asc(nulls_first=True), "pk")
    return jobs.filter(stored_version()).order_by(*oldest_first)


def request_drills(jobs: Iterable[ExpectedBackupJob]) -> None:
    """Have a worker restore the current versions, before those that are due."""
    ExpectedBackupJob.objects.filter(pk__in=[job.pk for job in jobs]).update(drill_requested_at=timezone.now())
    # Whoever takes a queued task after the commit finds these jobs too.
    transaction.on_commit(lambda: queued_calls(TASK) or enqueue(TASK, cluster="slow"))


def queue_due() -> int:
    """Expire old proofs, and queue what is due unless that is queued already. Return the number of expired proofs."""
    now = timezone.now()
    if due(now).exists() and not queued_calls(TASK, claimed=True):
        enqueue(TASK, cluster="slow")
    return proofs.expire_proofs(now)


def run_due() -> int:
    """Run what is due, unless another process does. Return the number of databases."""
    ends_at, count = time.monotonic() + BUDGET_SECONDS, 0
    try:
        with exclusive_run(TASK_PATIENCE) as run:
            while time.monotonic() < ends_at and (job := due(timezone.now()).first()) is not None:
                with postponing_errors(job, run.lease):
                    drill_job(job, run)
                count += 1
    except AlreadyRunning:
        pass  # whoever holds the lease finds what is due
    return count


@contextmanager
def postponing_errors(job: ExpectedBackupJob, lease: Lease) -> Iterator[None]:
    """Log an error of ours and put the job off, so that the others are drilled. LeaseLost ends all."""
    started_at = timezone.now()
    try:
        yield
    except LeaseLost:
        raise
    except SandboxUnavailable as error:
        log.warning("no restore drill (%s): %s", error.engine or "any engine", format_error(error.why))
    except Exception:
        log.exception("the backup %s could not be drilled", job.pk)
        with transaction.atomic():
            lease.extend()
            proofs.postpone(job.pk, started_at, proofs.RETRY_AFTER)


@dataclass(frozen=True)
class Run:
    """The lease and the private server of one run of drills."""

    lease: Lease
    server: PrivateServer


@contextmanager
def exclusive_run(patience: timedelta = PATIENCE) -> Iterator[Run]:
    """Hold the lease on drills, waiting up to `patience` for it. Raises AlreadyRunning.

    It is given back before the server is stopped: nobody would look for a database that is requested meanwhile.
    """
    with closing(PrivateServer()) as server, exclusive_lease(LEASE, LEASE_LENGTH, patience) as lease:
        yield Run(lease, server)


def drill_job(job: ExpectedBackupJob, run: Run) -> RestoreDrill | None:
    """Restore the current version of a job, and record it. Return None without a version.

    Raises LeaseLost and SandboxUnavailable. If the stored file is not what was verified, another version may have taken
    its place meanwhile.
    """
    run.lease.extend()
    RestoreDrill.objects.running().delete()  # of processes that were killed
    while (entry := BackupEntry.objects.filter(job=job).current()) is not None:
        drill, _is_new = RestoreDrill.objects.update_or_create(
            job=job, status=RestoreDrill.Status.RUNNING, defaults={"entry": entry}
        )
        try:
            outcome = restore_entry(entry, job, run.server, ProgressWriter(drill, run.lease))
        except SandboxUnavailable as error:
            proofs.record_unavailable_sandbox(drill, error, run.lease)
            raise
        if outcome.sha256 not in ("", entry.server_sha256):
            if BackupEntry.objects.filter(job=job).current() != entry:
                continue
            outcome.status = FAILED
            outcome.fail(make_reason("current_differs"))
        return drill if proofs.record_outcome(drill, outcome, run.lease) else None
    return None


def restore_entry(
    entry: BackupEntry, job: ExpectedBackupJob, server: PrivateServer, progress: Callable[[int], None]
) -> Outcome:
    """Restore the stored dump of an entry. Raises SandboxUnavailable, and what `progress` raises."""
    assertions = [
        Assertion(asserted.name, asserted.query, asserted.comparison, asserted.expected)
        for asserted in job.assertions.all()
    ]
    try:
        descriptor = open_dump(entry)
    except UnusablePath as error:
        outcome = Outcome(status=FAILED)
        outcome.fail(error.why)
        return outcome
    try:
        return children.restore_dump(descriptor, entry.staged_name, server, assertions, progress)
    finally:
        os.close(descriptor)


def restore_file(path: Path) -> Outcome:
    """Restore any file, without a record. Raises OSError, SandboxUnavailable and AlreadyRunning."""
    with open(path, "rb", buffering=0) as file, exclusive_run() as run:
        return children.restore_dump(file.fileno(), path.name, run.server)


class ProgressWriter:
    """Writes the bytes read to the row, and extends the lease, at most once in SAVED_EVERY seconds."""

    def __init__(self, drill: RestoreDrill, lease: Lease) -> None:
        self.drill, self.lease, self.last = drill, lease, time.monotonic()

    def __call__(self, read: int) -> None:
        """Raises LeaseLost."""
        if time.monotonic() - self.last >= SAVED_EVERY:
            self.last = time.monotonic()
            self.lease.extend()
            RestoreDrill.objects.filter(pk=self.drill.pk).update(bytes_read=read)
