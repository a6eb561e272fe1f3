"""Leases on the cycles of periodic jobs: started twice, killed or overlapping, a cycle has one effect.

A lease ends when it expires, or when its holder is found dead (`portal.work.processes`), whichever comes first.
Claiming a cycle issues a fencing token. Each write of the lease is conditional on it, so a holder that was wrongly
taken for dead learns of it at its next `extend()`, which belongs in the transaction of what the job writes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from portal.base.failures import error_line
from portal.models import JobRun
from portal.querysets import JobRunQuerySet
from portal.work.processes import current_process, dead_processes

LEASE = timedelta(minutes=5)
WAIT_SECONDS = 0.5


class AlreadyRunning(Exception):
    """Another process holds the lease."""


class LeaseLost(Exception):
    """Another process holds the cycle now: nothing more may be written for it."""


@dataclass(frozen=True)
class Lease:
    """The right to work on one cycle until it runs out; `extend()` renews it for another `length`."""

    pk: int
    job: str
    cycle_key: str
    fence: int
    length: timedelta = LEASE

    def extend(self) -> None:
        """Raises LeaseLost. Inside a transaction, the row stays ours until that ends."""
        self._write(lease_expires_at=timezone.now() + self.length)

    def finish(self, result: Any = None) -> None:
        """End the cycle for good; `result` is JSON. Raises LeaseLost."""
        self._write(status=JobRun.Status.DONE, finished_at=timezone.now(), result=result, error="")

    def release(self) -> None:
        """Give the cycle back, for a lease that is taken again and again. A lost lease changes nothing."""
        self._held().update(status=JobRun.Status.WAITING, finished_at=timezone.now(), error="")

    def fail(self, error: BaseException) -> None:
        """End this attempt; the cycle may be claimed again. A lost lease changes nothing."""
        self._held().update(status=JobRun.Status.FAILED, finished_at=timezone.now(), error=error_line(error))

    def _held(self) -> JobRunQuerySet:
        return JobRun.objects.filter(pk=self.pk, fence=self.fence, status=JobRun.Status.RUNNING)

    def _write(self, **changes: Any) -> None:
        if not self._held().update(**changes):
            raise LeaseLost(f"{self.job} {self.cycle_key}: claim {self.fence} was overtaken")


def claim_cycle(job: str, cycle_key: str, length: timedelta = LEASE) -> Lease | None:
    """Return the cycle's lease, or None if it is done or held by a live process."""
    now = timezone.now()
    JobRun.objects.bulk_create([JobRun(job=job, cycle_key=cycle_key)], ignore_conflicts=True)
    run = JobRun.objects.get(job=job, cycle_key=cycle_key)
    gone = dead_processes([run.holder]) if run.status == JobRun.Status.RUNNING else ()
    claimed = JobRun.objects.filter(pk=run.pk, fence=run.fence).claimable(now, gone)
    won = claimed.update(
        status=JobRun.Status.RUNNING,
        fence=run.fence + 1,
        holder=current_process(),
        started_at=now,
        finished_at=None,
        lease_expires_at=now + length,
    )
    return Lease(run.pk, job, cycle_key, run.fence + 1, length) if won else None


def claimable_cycles(runs: JobRunQuerySet, now: datetime) -> JobRunQuerySet:
    """Return those of the cycles that no live process holds."""
    held = runs.filter(status=JobRun.Status.RUNNING, lease_expires_at__gte=now)
    return runs.claimable(now, dead_processes(held.values_list("holder", flat=True)))


def claim_when_free(job: str, cycle_key: str, patience: timedelta, length: timedelta = LEASE) -> Lease:
    """Return the cycle's lease, waiting up to `patience` for it. Raises AlreadyRunning."""
    deadline = time.monotonic() + patience.total_seconds()
    while (lease := claim_cycle(job, cycle_key, length)) is None:
        if time.monotonic() >= deadline:
            raise AlreadyRunning(job)
        time.sleep(WAIT_SECONDS)
    return lease


@contextmanager
def exclusive_lease(name: str, length: timedelta = LEASE, patience: timedelta = timedelta(0)) -> Iterator[Lease]:
    """Hold the lease on work that must be done once at a time, for whatever cycle. Raises AlreadyRunning."""
    lease = claim_when_free(name, "all", patience, length)
    try:
        yield lease
    finally:
        lease.release()
