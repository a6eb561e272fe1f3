"""The end of a cluster's main process. `up/` has the rest, by real processes on a real database."""

import atexit
import os
import signal

import pytest

from portal.supervisor import cluster, lifeline, workers
from portal.supervisor.children import Child, Component

pytestmark = pytest.mark.slow


@pytest.fixture
def end_beside(monkeypatch):
    """Return a function that ends a cluster with one worker in a process of its own, and returns its exit status."""
    monkeypatch.setattr(cluster, "send_heartbeat", lambda: None)
    monkeypatch.setattr(workers.django_q, "worker", lambda inbox, *others: [*iter(inbox.get, "STOP"), signal.pause()])

    def ending(prepare):
        def run():
            main = cluster.Main("quick")
            main.workers = [workers.Worker(main.limits.timeout, [])]
            prepare(main.workers[0])
            main.end()

        child = Child(Component("quick", run))
        child.start(0.0, prepare=atexit._clear)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        return child.ended(0.0)

    return ending


def test_ending_cluster_kills_an_idle_worker_that_does_not_end(end_beside, monkeypatch):
    monkeypatch.setattr(cluster, "IDLE_GRACE", 0.0)
    assert end_beside(lambda worker: None) == -signal.SIGKILL


def test_ending_cluster_waits_for_a_busy_worker(end_beside, monkeypatch):
    monkeypatch.setattr(cluster, "IDLE_GRACE", 0.0)

    def be_busy(worker):
        worker.give("task")
        worker.process.kill()  # which is the end of its task too

    assert end_beside(be_busy) == 0


def test_orphaned_cluster_does_not_wait_for_a_busy_worker(end_beside, monkeypatch):
    monkeypatch.setattr(lifeline, "is_broken", lambda: True)
    monkeypatch.setattr(lifeline, "ORPHAN_GRACE_SECONDS", 0.0)
    assert end_beside(lambda worker: worker.give("task")) == -signal.SIGKILL
