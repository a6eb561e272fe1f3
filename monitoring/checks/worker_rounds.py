"""The workers' rounds: one of them watches for a minute, claims what becomes due, and hands over to the next.

A lease says who watches; the claims on the targets say who may write a result. So two workers make one round, and what
a killed one had begun is taken up by the next as soon as its claims have run out.
"""

import logging
import time
from datetime import datetime, timedelta

from django.db import DatabaseError, close_old_connections, transaction
from django.utils import timezone

from monitoring.checks import active_round
from monitoring.models import Round, Target
from portal.base.failures import error_line
from portal.models import Heartbeat, JobRun
from portal.querysets import JobRunQuerySet
from portal.work import attempts
from portal.work.jobs import Lease, LeaseLost, claim_cycle, claimable_cycles
from portal.work.processes import current_process
from portal.work.queue import enqueue, queued_calls

log = logging.getLogger("vigie.monitoring")
TASK = "monitoring.round"
LEASE_JOB, LEASE_CYCLE = "monitoring.watch", "targets"
HEARTBEAT = "watch"
LENGTH_SECONDS = 60.0
LEASE = timedelta(seconds=15)
RENEW_SECONDS = 5.0
# The successor is enqueued this long before a round ends, and has begun as long after it.
HAND_OVER_SECONDS = 2.0
# A worker that was asked to begin a round has this long before another is asked.
REQUEST_PAUSE = timedelta(seconds=5)
PATIENCE_SECONDS = 5.0
STEP_SECONDS = 0.2


class WatchLease:
    """The right to watch the targets, which one worker or one sweep has at a time.

    The fencing number of the lease is the number of the round.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.fence = lease.fence
        self.is_held = True
        self.next_renewal = float("-inf")

    def keep(self) -> bool:
        """Renew the lease every few seconds, and say with a heartbeat that somebody watches. Return whether the lease
        is still ours: if the database is gone, it counts as ours until it is known to be lost.
        """
        if self.is_held and time.monotonic() >= self.next_renewal:
            try:
                self.lease.extend()
                Heartbeat.objects.beat(HEARTBEAT, current_process())
                self.next_renewal = time.monotonic() + RENEW_SECONDS
            except LeaseLost as lost:
                log.warning("%s", lost)
                self.is_held = False
            except DatabaseError as error:
                log.warning("the lease could not be renewed: %s", error_line(error))
                close_old_connections()
                self.next_renewal = time.monotonic() + active_round.PAUSE_SECONDS
        return self.is_held

    def release(self) -> None:
        """Give the lease back. If the database is gone, it expires by itself."""
        try:
            self.lease.release()
        except DatabaseError as error:
            log.warning("the lease could not be given back: %s", error_line(error))
            close_old_connections()


def take_lease(patience: float) -> WatchLease | None:
    """Wait up to `patience` seconds for the lease. Return None if somebody else has it."""
    deadline = time.monotonic() + patience
    while True:
        lease = claim_cycle(LEASE_JOB, LEASE_CYCLE, LEASE)
        if lease is not None:
            return WatchLease(lease)
        if time.monotonic() >= deadline:
            return None
        time.sleep(STEP_SECONDS / 2)


def run_round(length: float | None = None) -> Round | None:
    """Watch for `length` seconds, a minute by default, then wait for the checks under way and store the round.

    Return None if somebody else watches, or if no check was due.
    """
    lease = take_lease(PATIENCE_SECONDS)
    if lease is None:
        return None
    with active_round.make_prober() as prober:
        try:
            run = active_round.ActiveRound(lease.fence, prober, active_round.make_connectivity())
            active_round.release_dead_claims()
            claim_until(run, lease, LENGTH_SECONDS if length is None else length)
        finally:
            lease.release()
        while not run.is_over():
            run.step(STEP_SECONDS)
        return run.close()


def claim_until(run: active_round.ActiveRound, lease: WatchLease, length: float) -> None:
    """Claim what is due and record results until the time is over, the lease is lost, or the portal is stopped."""
    end, has_successor = time.monotonic() + length, False
    while (now := time.monotonic()) < end and not attempts.cluster_is_ending.get()() and lease.keep():
        try:
            if not has_successor and now >= end - HAND_OVER_SECONDS:
                if Target.objects.active().exists():
                    enqueue(TASK)
                has_successor = True
            run.claim_due(timezone.now())
        except DatabaseError as error:
            log.warning("targets could not be claimed: %s", error_line(error))
            close_old_connections()
            time.sleep(active_round.PAUSE_SECONDS)
        run.step(STEP_SECONDS)


def lease_rows() -> JobRunQuerySet:
    """The one row of the watch lease, or none before the first round."""
    return JobRun.objects.filter(job=LEASE_JOB, cycle_key=LEASE_CYCLE)


def is_unwatched(now: datetime) -> bool:
    """Return whether nobody has the lease, and nobody has just released it for a successor."""
    run = lease_rows()
    handed_over = run.filter(
        status=JobRun.Status.WAITING, finished_at__gt=now - timedelta(seconds=HAND_OVER_SECONDS), finished_at__lte=now
    )
    return not run.exists() or (claimable_cycles(run, now).exists() and not handed_over.exists())


def ensure_watched(now: datetime) -> bool:
    """Enqueue a round if there are active targets and nobody holds the lease. Return False: the pulse has no more work.

    What the last watcher left in the queue does not matter, only who holds the lease.
    """
    if is_unwatched(now) and Target.objects.active().exists():
        with transaction.atomic():
            if not queued_calls(TASK) and Heartbeat.objects.ask(HEARTBEAT, silence=timedelta(0), pause=REQUEST_PAUSE):
                enqueue(TASK)
    return False
