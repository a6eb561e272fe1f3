"""Counting how often a queued task is started, on top of django-q2's at-least-once delivery.

django-q2 counts an attempt when it ended, so a task that kills its worker would come back for ever; its retry clock
runs from when a task is prefetched, so one that had to wait may be delivered while it is running. Here an attempt is
counted at its start, the clock is set again, and a second delivery finds the first.
"""

import enum
import logging
import time
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, close_old_connections, transaction
from django.db.models import F
from django.dispatch import receiver
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signals import pre_execute

from portal.base.failures import error_line
from portal.models import ChannelState, Heartbeat, JobRun, TaskAttempt
from portal.work.clusters import cluster_limits
from portal.work.processes import current_process, dead_processes

log = logging.getLogger("vigie.tasks")
BEAT_EVERY = timedelta(seconds=5)
PAUSE_SECONDS = 1.0
# A worker's own alarm ends a task at its timeout; somewhat later it cannot be running any more, wherever it was.
MARGIN = timedelta(seconds=30)

current_package: ContextVar[dict[str, Any]] = ContextVar("current_package")
# Set by the main process of a cluster; its workers inherit it when they are forked.
cluster_is_ending: ContextVar[Callable[[], bool]] = ContextVar("cluster_is_ending", default=lambda: False)


@receiver(pre_execute)
def remember_package(task: dict[str, Any], **kwargs: Any) -> None:
    """Remember the task: django-q2 does not pass it to its function, which follows in the same process."""
    current_package.set(task)


class Start(enum.Enum):
    GO = "go"
    FINISHED = "finished"
    RUNNING = "running"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Delivery:
    """One handing over of a queued task to this worker."""

    package: dict[str, Any]
    name: str

    @property
    def row(self) -> dict[str, Any]:
        return {
            "task_id": self.package["id"],
            "name": self.name,
            "cluster": self.package["cluster"],
            "queue_id": self.package.get("ack_id") or None,
        }

    def keep_queued(self) -> None:
        """Keep the queue row, which django-q2 deletes by `ack_id` once the function has returned or raised."""
        self.package["ack_id"] = None

    def give_back(self, now: datetime) -> None:
        """Release the queue row, so that any worker can claim it at once."""
        OrmQ.objects.filter(pk=self.row["queue_id"]).update(lock=now)
        self.keep_queued()


def decide_start(attempt: TaskAttempt, now: datetime) -> Start:
    """Decide what to do with a delivery of a task, given its earlier attempts."""
    if attempt.finished_at is not None:
        return Start.FINISHED
    over = now - attempt.started_at > cluster_limits(attempt.cluster).timeout + MARGIN
    if attempt.worker and not over and not dead_processes([attempt.worker]):
        return Start.RUNNING
    return Start.GIVEN_UP if attempt.attempts >= TaskAttempt.MOST_ATTEMPTS else Start.GO


def start_attempt(delivery: Delivery, now: datetime) -> Start:
    """Count the attempt if it may start, and set the task's retry clock to its full length."""
    with transaction.atomic():
        TaskAttempt.objects.bulk_create([TaskAttempt(**delivery.row, started_at=now)], ignore_conflicts=True)
        attempt = TaskAttempt.objects.get(task_id=delivery.row["task_id"])
        start = decide_start(attempt, now)
        if start in {Start.FINISHED, Start.RUNNING}:
            return start
        unchanged = TaskAttempt.objects.filter(pk=attempt.pk, attempts=attempt.attempts, finished_at=None)
        if not unchanged.update(attempts=F("attempts") + 1, worker=current_process(), started_at=now):
            return Start.RUNNING
        if start is Start.GO:
            retry_at = now + cluster_limits(attempt.cluster).retry
            OrmQ.objects.filter(pk=attempt.queue_id).update(lock=retry_at)
            Heartbeat.objects.beat(attempt.cluster, current_process(), every=BEAT_EVERY)
        return start


def finish_attempt(delivery: Delivery, now: datetime, error: str = "") -> None:
    """Store how the task ended and end the leases it still holds, trying again until the database answers.

    An end that is not on record would keep everybody else from the task for as long as this worker lives.
    """
    mine = TaskAttempt.objects.filter(task_id=delivery.row["task_id"], worker=current_process())
    while True:
        try:
            with transaction.atomic():
                mine.update(finished_at=now, error=error)
                expire_leases([current_process()], timezone.now())
        except Error as trouble:
            log.warning("the end of %s could not be written down: %s", delivery.name, error_line(trouble))
            if cluster_is_ending.get()():
                raise  # the next worker finds this one dead
            close_old_connections()
            time.sleep(PAUSE_SECONDS)
        else:
            return


def expire_leases(holders: Collection[str], now: datetime) -> None:
    """End the leases of processes that are dead, or that ended their task and could not give them back."""
    for leases in (JobRun.objects.filter(status=JobRun.Status.RUNNING), ChannelState.objects.all()):
        leases.filter(lease_expires_at__gt=now, holder__in=holders).update(lease_expires_at=now)


def release_dead(attempts: list[TaskAttempt], now: datetime) -> None:
    """Make tasks whose worker died claimable at once, instead of when their retry clock runs out."""
    for attempt in attempts:
        with transaction.atomic():
            same = TaskAttempt.objects.filter(pk=attempt.pk, worker=attempt.worker, finished_at=None)
            if same.update(worker=""):
                OrmQ.objects.filter(pk=attempt.queue_id).update(lock=now)
