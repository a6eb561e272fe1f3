"""The end of a cluster's main process. `up/` has the rest, by real processes on a real database."""

import atexit
import os
import signal

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.models import OrmQ

from portal.supervisor import cluster, lifeline, workers
from portal.supervisor.children import Child, Component
from portal.tests.helpers.waiting import PATIENCE
from portal.work.queue import claim_task, enqueue

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
        worker.give({})
        worker.process.kill()  # which is the end of its task too

    assert end_beside(be_busy) == 0


def test_orphaned_cluster_does_not_wait_for_a_busy_worker(end_beside, monkeypatch):
    monkeypatch.setattr(lifeline, "is_broken", lambda: True)
    monkeypatch.setattr(lifeline, "ORPHAN_GRACE_SECONDS", 0.0)
    assert end_beside(lambda worker: worker.give({})) == -signal.SIGKILL


def test_ending_cluster_kills_a_worker_whose_task_is_overdue(end_beside):
    def be_overdue(worker):
        worker.give({})
        worker.overdue_at = 0.0

    assert end_beside(be_overdue) == 0


@pytest.mark.django_db(transaction=True)
class TestClaimedTask:
    @pytest.fixture
    def claimed(self):
        enqueue("portal.beat", "quick")
        return claim_task("quick", timezone.now())

    @pytest.fixture
    def main(self, monkeypatch):
        """Return a cluster whose one worker has ended."""
        monkeypatch.setattr(workers, "work", lambda *arguments: None)
        main = cluster.Main("quick")
        main.workers = [workers.Worker(main.limits.timeout, [])]
        main.workers[0].process.join(PATIENCE)
        return main

    def test_task_given_to_an_ended_worker_is_given_back_at_once(self, main, claimed):
        main.workers[0].give(claimed)
        main.await_results()
        assert main.workers == []
        assert OrmQ.objects.get().lock <= timezone.now()

    def test_task_that_an_ended_worker_had_begun_stays_claimed(self, main, claimed):
        begun = timezone.now() + main.limits.retry
        OrmQ.objects.update(lock=begun)
        main.workers[0].give(claimed)
        main.await_results()
        assert OrmQ.objects.get().lock == begun

    def test_result_is_stored_once_the_database_answers(self, main, claimed, monkeypatch):
        failures, stored = [OperationalError()], []

        def store(result):
            if failures:
                raise failures.pop()
            stored.append(result)

        monkeypatch.setattr(main, "store", store)
        monkeypatch.setattr(main.workers[0], "take_result", lambda: claimed)
        main.await_results()
        assert stored == [claimed]
        main.workers.pop().close()
