"""Facts for the watchdog, from the database and the process table, and acting on its verdict."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import Error, close_old_connections
from django.db.models import Max, Min
from django.utils import timezone
from django_q.models import OrmQ

from portal.base.failures import error_line
from portal.models import ChannelState, TaskAttempt
from portal.supervisor.watchdog import Claim, Facts, decide_ending
from portal.work import processes
from portal.work.attempts import expire_leases, release_dead
from portal.work.clusters import Cluster, cluster_limits
from portal.work.processes import HOST, dead_processes, is_here, is_in_own_group, pid_here

log = logging.getLogger("vigie.watchdog")


def recover_and_check_stall(cluster: Cluster, started_at: datetime, patience: timedelta) -> bool:
    """Give back the work of dead processes on any node, and return whether this cluster has stalled.

    False without the database: the cluster's own processes wait for it as well.
    """
    close_old_connections()
    try:
        now = timezone.now()
        attempts = list(TaskAttempt.objects.running(cluster))
        delivering = ChannelState.objects.filter(lease_expires_at__gt=now).values_list("holder", flat=True)
        gone = dead_processes([*(attempt.worker for attempt in attempts), *delivering])
        expire_leases(gone, now)
        release_dead([attempt for attempt in attempts if attempt.worker in gone], now)
        living = [attempt for attempt in attempts if attempt.worker not in gone]
        verdict = decide_ending(gather_facts(cluster, started_at, now, living), patience)
        OrmQ.objects.filter(pk__in=verdict.give_back, lock__gt=now).update(lock=now)
    except Error as error:
        log.warning("the database does not answer: %s", error_line(error))
        return False
    if verdict.is_stalled:
        log.critical("a task waits for the %s cluster while a worker is idle: the cluster starts anew", cluster)
    return verdict.is_stalled


def send_heartbeat() -> None:
    """A sign of life of this node; without the database there is nobody to see it."""
    try:
        processes.record_heartbeat()
    except Error as error:
        log.warning("the database does not answer: %s", error_line(error))
        close_old_connections()


def count_busy(attempts: Iterable[TaskAttempt]) -> int:
    """Count the tasks that workers of this cluster run; they share its main process's group."""
    pids = (pid_here(attempt.worker) for attempt in attempts)
    return sum(1 for pid in pids if pid is not None and is_in_own_group(pid))


def gather_facts(cluster: Cluster, started_at: datetime, now: datetime, living: list[TaskAttempt]) -> Facts:
    """`living` are the attempts under way, here and elsewhere."""
    started = [attempt.started_at for attempt in living if is_here(attempt.worker)]
    ended = TaskAttempt.objects.filter(cluster=cluster, finished_at__gt=started_at).on_host(HOST)
    queue = OrmQ.objects.filter(key=cluster)
    claimed = (
        queue.filter(lock__gt=now).exclude(pk__in=[attempt.queue_id for attempt in living]).values_list("pk", "lock")
    )
    retry = cluster_limits(cluster).retry
    return Facts(
        now=now,
        started_at=started_at,
        workers=cluster_limits(cluster).workers,
        busy=count_busy(living),
        active_at=max([*started, *filter(None, ended.aggregate(at=Max("finished_at")).values())], default=None),
        unclaimed_since=queue.filter(lock__lte=now).aggregate(since=Min("lock"))["since"],
        unstarted=[Claim(pk, lock - retry) for pk, lock in claimed],
    )
