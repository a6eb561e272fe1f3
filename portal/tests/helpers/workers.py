"""Run django-q2's pusher, worker and monitor one after the other in the test's process."""

from __future__ import annotations

from multiprocessing import Value
from queue import Queue
from typing import Any
from unittest.mock import patch

from django_q.brokers import get_broker
from django_q.models import OrmQ
from django_q.monitor import monitor
from django_q.signing import SignedPackage
from django_q.worker import worker


def deliver(cluster: str = "quick") -> int:
    """Claim the cluster's waiting tasks, run them as a worker would, and return their number."""
    broker = get_broker(cluster)
    inbox: Queue[Any] = Queue()
    outbox: Queue[Any] = Queue()
    with patch("django_q.brokers.orm.sleep"):  # it pauses when the queue is empty
        claimed = broker.dequeue() or []
    for ack_id, payload in claimed:
        inbox.put(SignedPackage.loads(payload) | {"cluster": cluster, "ack_id": ack_id})
    inbox.put("STOP")
    # Between tasks a worker closes connections that are inside a transaction, as the test's is.
    with patch("django_q.worker.close_old_django_connections"), patch("django_q.monitor.close_old_django_connections"):
        worker(inbox, outbox, Value("f", -1), 60)
        outbox.put("STOP")
        monitor(outbox, broker)
    return len(claimed)


def deliver_again(row: OrmQ) -> None:
    """Redeliver a claimed task, as django-q2 does when its retry time has passed."""
    OrmQ.objects.filter(pk=row.pk).update(lock="2020-01-01T00:00:00Z")
    deliver(row.key)
