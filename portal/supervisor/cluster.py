"""The main process of a django-q2 cluster: watches the sentinel and the queue, and ends the whole group in doubt."""

import logging
import signal
import time
import uuid
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

from django.db import connections
from django.utils import timezone
from django_q import cluster as django_q

from portal.supervisor import database, lifeline
from portal.supervisor.facts import is_busy, recover_and_check_stall, send_heartbeat
from portal.supervisor.watchdog import PATIENCE
from portal.work.attempts import cluster_is_ending
from portal.work.clusters import Cluster
from portal.work.processes import BEAT_EVERY

log = logging.getLogger("vigie.cluster")
# The watchdog looks this many times before its patience is over.
LOOKS = 12
# An ending cluster in which no task runs has nothing left to wait for but a lock that nobody will release.
IDLE_GRACE = 10.0
IDLE_TIMER = -1
fork = get_context("fork")


class Sentinel(django_q.Sentinel):  # type: ignore[misc]
    """django-q2's own, except that it does not go on with a queue whose lock was taken to the grave."""

    def reincarnate(self, process: Any) -> None:
        was_killed = process.exitcode is not None and process.exitcode < 0
        if was_killed and self.waited_on_a_queue(process):
            log.critical("a process of the cluster was killed while it waited on a queue: the cluster starts anew")
            lifeline.end_group()
        super().reincarnate(process)

    def waited_on_a_queue(self, process: Any) -> bool:
        """The monitor always does, a worker while it is idle; the pusher waits without a lock."""
        return process is self.monitor or (process in self.pool and process.timer.value == IDLE_TIMER)


class Main:
    """Runs a cluster until a signal asks for its end."""

    def __init__(self, name: Cluster, patience: timedelta = PATIENCE) -> None:
        self.name = name
        self.patience = patience
        self.started_at = timezone.now()
        self.is_ending = False
        self.next_beat = 0.0
        self.stop = fork.Event()
        self.sentinel = fork.Process(target=Sentinel, args=(self.stop, fork.Event(), uuid.uuid4()))

    def run(self) -> None:
        lifeline.lead_group()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.note_signal)
        cluster_is_ending.set(self.stop.is_set)
        # django-q2's sentinel needs the database from its first line on.
        if not database.wait_for_database(lambda: self.is_ending or lifeline.is_broken()):
            return
        connections.close_all()  # an inherited connection would be closed under its owner
        self.sentinel.start()
        lifeline.watch_lifeline()  # after the fork: no thread survives one
        self.watch()
        self.end()

    def note_signal(self, number: int, frame: object) -> None:
        self.is_ending = True

    def watch(self) -> None:
        pause = self.patience.total_seconds() / LOOKS
        next_look = time.monotonic() + pause
        while not self.is_ending:
            self.sentinel.join(0.2)
            if not self.sentinel.is_alive():
                log.critical("the sentinel of the %s cluster is gone", self.name)
                database.wait_for_database(lambda: self.is_ending)
                lifeline.end_group()
            self.beat()
            if time.monotonic() < next_look:
                continue
            if recover_and_check_stall(self.name, self.started_at, self.patience):
                lifeline.end_group()
            next_look = time.monotonic() + pause

    def beat(self) -> None:
        """Send heartbeats until the very end: the work of a silent node is given to others."""
        if time.monotonic() >= self.next_beat:
            send_heartbeat()
            self.next_beat = time.monotonic() + BEAT_EVERY.total_seconds()

    def end(self) -> None:
        """Let the running tasks end; those that were prefetched are given back (see `portal.work.queue`)."""
        self.stop.set()
        busy_at = time.monotonic()
        while self.sentinel.is_alive():
            self.sentinel.join(0.5)
            self.beat()
            if is_busy(self.name):
                busy_at = time.monotonic()
            elif time.monotonic() - busy_at > IDLE_GRACE:
                log.critical("the %s cluster does not end by itself", self.name)
                lifeline.end_group()
