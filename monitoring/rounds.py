"""The workers' rounds: one of them watches for a minute, claims what becomes due, and hands over to the next.

A lease says who watches; the claims on the targets say who may write a result. So two workers make one round, and what
a killed one had begun is taken up by the next as soon as its claims have run out.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from django.db import DatabaseError, close_old_connections, transaction
from django.utils import timezone

from monitoring import watch
from monitoring.models import Round, Target
from portal.base.failures import error_line
from portal.base.processes import current_process
from portal.models import Heartbeat, JobRun
from portal.work import attempts
from portal.work.jobs import Lease, LeaseLost, claim_cycle, claimable_cycles
from portal.work.queue import enqueue, queued_calls

log = logging.getLogger("vigie.monitoring")
TASK = "monitoring.round"
JOB, CYCLE = "monitoring.watch", "targets"
BEAT = "watch"
LENGTH_SECONDS = 60.0
LEASE = timedelta(seconds=15)
RENEW_SECONDS = 5.0
# A successor is there by then; and whoever was asked to watch has begun.
HAND_OVER, PAUSE = timedelta(seconds=2), timedelta(seconds=5)
# Enqueued before the end, the next watcher has started when this one lets go.
HAND_OVER_SECONDS = HAND_OVER.total_seconds()
PATIENCE_SECONDS = 5.0
STEP_SECONDS = 0.2


def take(patience: float) -> Lease | None:
    """The right to watch, for which it waits up to `patience` seconds; None where somebody else has it."""
    deadline = time.monotonic() + patience
    while True:
        lease = claim_cycle(JOB, CYCLE, LEASE)
        if lease is not None or time.monotonic() >= deadline:
            return lease
        time.sleep(STEP_SECONDS / 2)


def run_round(length: float | None = None) -> Round | None:
    """Watches for `length` seconds, a minute unless told otherwise, then waits for what is under way. None where
    somebody else watches, or where there was nothing to check.
    """
    lease = take(PATIENCE_SECONDS)
    if lease is None:
        return None
    with watch.our_prober() as prober:
        try:
            run = watch.Watch(lease.fence, prober, watch.our_connectivity())
            watch.release_dead()
            keep_watch(run, lease, LENGTH_SECONDS if length is None else length)
        finally:
            let_go(lease)
        while not run.is_over():
            run.step(STEP_SECONDS)
        return run.close()


def let_go(lease: Lease) -> None:
    """Where the database is gone, the lease runs out by itself."""
    try:
        lease.release()
    except DatabaseError as error:
        log.warning("the lease could not be given back: %s", error_line(error))
        close_old_connections()


def keep_watch(run: watch.Watch, lease: Lease, length: float) -> None:
    """Claims and writes down until the time is over, somebody else has the lease, or the portal is being stopped."""
    end, renewed, has_successor = time.monotonic() + length, float("-inf"), False
    while (now := time.monotonic()) < end and not attempts.cluster_is_ending.get()():
        try:
            if now - renewed >= RENEW_SECONDS:
                renew(lease)
                renewed = now
            if not has_successor and now >= end - HAND_OVER_SECONDS:
                has_successor = ask_for_successor()
            run.claim_due(timezone.now())
        except LeaseLost as lost:
            log.warning("%s", lost)
            return
        except DatabaseError as error:
            log.warning("targets could not be claimed: %s", error_line(error))
            close_old_connections()
            time.sleep(watch.PAUSE_SECONDS)
        run.step(STEP_SECONDS)


def renew(lease: Lease) -> None:
    lease.extend()
    Heartbeat.objects.beat(BEAT, current_process())


def ask_for_successor() -> bool:
    if Target.objects.active().exists():
        enqueue(TASK)
    return True


def is_unwatched(now: datetime) -> bool:
    """Whether nobody has the lease, and nobody has just let go of it for a successor."""
    run = JobRun.objects.filter(job=JOB, cycle_key=CYCLE)
    handed_over = run.filter(status=JobRun.Status.WAITING, finished_at__gt=now - HAND_OVER, finished_at__lte=now)
    return not run.exists() or (claimable_cycles(run, now).exists() and not handed_over.exists())


def keep_watched(now: datetime) -> bool:
    """Has somebody watch where there is something to watch and nobody does.

    Whatever the last watcher left in the queue stands in nobody's way: what counts is who has the lease.
    """
    if is_unwatched(now) and Target.objects.active().exists():
        with transaction.atomic():
            if not queued_calls(TASK) and Heartbeat.objects.ask(BEAT, silence=timedelta(0), pause=PAUSE):
                enqueue(TASK)
    return False
