"""Run the tasks of a cluster's queue in the test's process."""

from __future__ import annotations

from queue import Queue
from typing import Any
from unittest.mock import patch

from django.utils import timezone
from django_q.models import OrmQ
from django_q.monitor import monitor
from django_q.worker import worker

from portal.supervisor.workers import Timer
from portal.work.clusters import Cluster
from portal.work.queue import claim_task


def deliver(cluster: Cluster = "quick") -> int:
    """Claim the cluster's oldest waiting task, run it as a worker would, and return the number of tasks run."""
    task = claim_task(cluster, timezone.now())
    if task is None:
        return 0
    inbox: Queue[Any] = Queue()
    outbox: Queue[Any] = Queue()
    for item in (task, "STOP"):
        inbox.put(item)
    # Between tasks a worker closes connections that are inside a transaction, as the test's is.
    with patch("django_q.worker.close_old_django_connections"), patch("django_q.monitor.close_old_django_connections"):
        worker(inbox, outbox, Timer(), 60)
        outbox.put("STOP")
        monitor(outbox)
    return 1


def deliver_again(row: OrmQ) -> None:
    """Redeliver a claimed task, as django-q2 does when its retry time has passed."""
    OrmQ.objects.filter(pk=row.pk).update(lock="2020-01-01T00:00:00Z")
    deliver(row.key)
