"""The main process of a cluster: claims tasks, has its workers run them, and ends the whole group in doubt.

It takes the place of django-q2's main process, sentinel, pusher and monitor. What a worker does with a task, how a
result is stored and when a schedule is due are django-q2's.
"""

import logging
import signal
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from multiprocessing.connection import wait
from types import SimpleNamespace
from typing import Any

from django.db import Error, connections
from django.utils import timezone
from django_q.conf import Conf
from django_q.monitor import monitor
from django_q.scheduler import scheduler

from portal.base.failures import error_line
from portal.supervisor import database, lifeline
from portal.supervisor.facts import recover_and_check_stall, send_heartbeat
from portal.supervisor.watchdog import PATIENCE
from portal.supervisor.workers import Worker
from portal.work.clusters import Cluster, cluster_limits
from portal.work.processes import BEAT_EVERY
from portal.work.queue import claim_task, give_back

log = logging.getLogger("vigie.cluster")
POLL_SECONDS = 0.5
SCHEDULE_SECONDS = 30.0
# The watchdog looks this many times before its patience is over.
LOOKS = 12
# An idle worker ends at once, unless somebody has stopped it.
IDLE_GRACE = 10.0


class Main:
    """Runs a cluster until a signal asks for its end or its supervisor has ended."""

    def __init__(self, name: Cluster, patience: timedelta = PATIENCE) -> None:
        self.name = name
        self.limits = cluster_limits(name)
        self.patience = patience
        self.started_at = timezone.now()
        self.is_asked_to_end = False
        self.workers: list[Worker] = []
        # When each action is due, on the monotonic clock.
        self.due: dict[Callable[[], object], float] = {}
        Conf.CLUSTER_NAME = name  # of django-q2's broker, and whose schedules it starts

    @property
    def is_ending(self) -> bool:
        return self.is_asked_to_end or lifeline.is_broken()

    def run(self) -> None:
        lifeline.lead_group()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.note_signal)
        if not database.wait_for_database(lambda: self.is_ending):
            return
        while not self.is_ending:
            self.act(self.start_workers, every=POLL_SECONDS)
            self.act(send_heartbeat, every=BEAT_EVERY.total_seconds())
            self.act(self.look, every=self.patience.total_seconds() / LOOKS)
            self.act(scheduler, every=SCHEDULE_SECONDS)
            self.act(self.give_tasks)
            self.await_results()
        self.end()

    def note_signal(self, number: int, frame: object) -> None:
        self.is_asked_to_end = True

    def act(self, action: Callable[[], object], every: float = 0.0) -> bool:
        """Do it if it is due. If the database fails, wait until it answers and return False."""
        if time.monotonic() < self.due.get(action, 0.0):
            return True
        if every:
            self.due[action] = time.monotonic() + every
        try:
            action()
        except Error as error:
            log.warning("the database does not answer: %s", error_line(error))
            connections.close_all()
            database.wait_for_database(lambda: self.is_ending)
            return False
        return True

    def insist(self, action: Callable[[], object]) -> None:
        """Do it, again after each failure of the database, unless the cluster is ending."""
        while not self.act(action) and not self.is_ending:
            pass

    def look(self) -> None:
        if recover_and_check_stall(self.name, self.started_at, self.patience):
            lifeline.end_group()

    # --- Workers -----------------------------------------------------------------------------------------------------

    def start_workers(self) -> None:
        """Start as many as are missing, and kill those that don't heed their timeout."""
        for worker in self.workers:
            worker.kill_if_overdue()
        if len(self.workers) < self.limits.workers:
            connections.close_all()  # an inherited connection would be closed under its owner
        while len(self.workers) < self.limits.workers:
            self.workers.append(Worker(self.limits.timeout, self.workers))

    def give_tasks(self) -> None:
        """Claim a task for each idle worker."""
        for worker in self.workers:
            if worker.is_idle:
                task = claim_task(self.name, timezone.now())
                if task is None:
                    return
                worker.give(task)

    def await_results(self) -> None:
        """Store results as soon as there are any, and note workers that have ended."""
        ready = wait([worker.results for worker in self.workers], POLL_SECONDS)
        for worker in [worker for worker in self.workers if worker.results in ready]:
            result = worker.take_result()
            if result is None:
                self.forget(worker)
            else:
                self.insist(partial(self.store, result))

    def store(self, result: dict[str, Any]) -> None:
        """Keep a failure, and remove the task from the queue."""
        monitor(SimpleNamespace(get=deque([result, "STOP"]).popleft))

    def forget(self, worker: Worker) -> None:
        self.workers.remove(worker)
        code = worker.close()
        if code:
            log.error("a worker of the %s cluster ended with %s", self.name, code)
            self.due.pop(self.look, None)  # which gives back at once what it had begun
        if worker.task:
            self.insist(partial(give_back, worker.task, timezone.now()))

    def end(self) -> None:
        """Let the running tasks end. Heartbeats go on until then: the work of a silent node is given to others."""
        for worker in self.workers:
            worker.end()
        busy_at = supervised_at = time.monotonic()
        while self.workers:
            now = time.monotonic()
            busy_at = busy_at if all(worker.is_idle for worker in self.workers) else now
            supervised_at = supervised_at if lifeline.is_broken() else now
            if now > min(busy_at + IDLE_GRACE, supervised_at + lifeline.ORPHAN_GRACE_SECONDS):
                log.critical("the %s cluster does not end by itself", self.name)
                lifeline.end_group()
            for worker in self.workers:
                worker.kill_if_overdue()
            self.act(send_heartbeat, every=BEAT_EVERY.total_seconds())
            self.await_results()
