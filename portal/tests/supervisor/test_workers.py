"""Worker processes, each forked from this one with a pipe in each direction."""

import os
import signal
from datetime import timedelta

import pytest

from portal.supervisor import workers
from portal.supervisor.workers import Inbox, Outbox, Worker
from portal.tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.slow
LONG = timedelta(minutes=10)


def echo(inbox, outbox, timer, timeout):
    """Stand in for django-q2: answer each task, which says what to do, with the id of this process."""
    for task in iter(inbox.get, "STOP"):
        if task == "wait":
            signal.pause()
        outbox.put({"worker": os.getpid(), "ends": workers.cluster_is_ending.get()()})


@pytest.fixture
def start(monkeypatch):
    """Return a function that starts one more worker; all are killed at the end."""
    monkeypatch.setattr(workers.django_q, "worker", echo)
    started = []

    def starting(timeout=LONG):
        started.append(Worker(timeout, started))
        return started[-1]

    yield starting
    for worker in started:
        worker.process.kill()
        worker.close()


def test_worker_is_busy_until_its_result_is_taken(start):
    worker = start()
    assert worker.is_idle
    worker.give("echo")
    assert not worker.is_idle
    assert worker.take_result() == {"worker": worker.process.pid, "ends": False}
    assert worker.is_idle


def test_killed_worker_has_no_result_and_refuses_no_task(start):
    worker = start()
    worker.process.kill()
    worker.process.join()
    worker.give("echo")
    assert worker.take_result() is None


@pytest.mark.parametrize(("timeout", "code"), [(LONG, None), (-workers.ALARM_GRACE, -signal.SIGKILL)])
def test_worker_is_killed_once_its_task_is_overdue(start, timeout, code):
    worker = start(timeout)
    worker.give("wait")
    worker.kill_if_overdue()
    worker.process.join(0 if code is None else PATIENCE)
    assert worker.process.exitcode == code


def test_idle_worker_is_never_overdue(start):
    worker = start(-workers.ALARM_GRACE)
    worker.give("echo")
    worker.take_result()
    worker.kill_if_overdue()
    worker.process.join(0)
    assert worker.process.exitcode is None


def test_idle_worker_ends_at_once_though_others_were_forked_after_it(start):
    first, second = start(), start()
    first.end()
    first.process.join(PATIENCE)
    assert (first.process.exitcode, second.process.exitcode) == (0, None)


def test_worker_that_is_to_end_sees_it_and_still_ends_its_task(start):
    worker = start()
    os.kill(worker.process.pid, signal.SIGSTOP)
    worker.give("echo")
    worker.end()
    os.kill(worker.process.pid, signal.SIGCONT)
    assert worker.take_result()["ends"]
    assert worker.take_result() is None


def test_ends_of_pipes_are_read_and_written_without_an_error():
    theirs, ours = workers.Pipe(duplex=False)
    theirs.close()
    Outbox(ours).put({})
    theirs, ours = workers.Pipe(duplex=False)
    ours.close()
    assert Inbox(theirs).get() == "STOP"
