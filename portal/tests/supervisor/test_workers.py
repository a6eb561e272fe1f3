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
ECHO = {"id": "echo", "args": ["a"], "ack_id": 7}


def echo(inbox, outbox, timer, timeout):
    """Stand in for django-q2: fail each task with whether the worker is to end."""
    for task in iter(inbox.get, "STOP"):
        if task["id"] == "wait":
            signal.pause()
        ends = workers.cluster_is_ending.get()()
        outbox.put(task | {"success": False, "stopped": None, "result": f"{ends} {'x' * 100_000}"})


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
    worker.give(ECHO)
    assert not worker.is_idle
    result = worker.take_result()
    assert worker.is_idle
    assert result | {"result": None} == ECHO | {"success": False, "stopped": None, "result": None}


def test_result_is_short_enough_for_one_write(start):
    worker = start()
    worker.give(ECHO)
    assert len(worker.take_result()["result"]) == workers.RESULT_LENGTH


def test_killed_worker_has_no_result_and_keeps_its_task(start):
    worker = start()
    worker.process.kill()
    worker.process.join()
    worker.give(ECHO)
    assert worker.take_result() is None
    assert worker.task == ECHO


@pytest.mark.parametrize(("timeout", "code"), [(LONG, None), (-workers.ALARM_GRACE, -signal.SIGKILL)])
def test_worker_is_killed_once_its_task_is_overdue(start, timeout, code):
    worker = start(timeout)
    worker.give({"id": "wait"})
    worker.kill_if_overdue()
    worker.process.join(0 if code is None else PATIENCE)
    assert worker.process.exitcode == code


def test_idle_worker_is_never_overdue(start):
    worker = start(-workers.ALARM_GRACE)
    worker.give(ECHO)
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
    worker.give(ECHO)
    worker.end()
    os.kill(worker.process.pid, signal.SIGCONT)
    assert worker.take_result()["result"].startswith("True")
    assert worker.take_result() is None


def test_ends_of_pipes_are_read_and_written_without_an_error():
    theirs, ours = workers.Pipe(duplex=False)
    theirs.close()
    Outbox(ours).put(ECHO | {"success": True, "stopped": None, "result": None})
    theirs, ours = workers.Pipe(duplex=False)
    ours.close()
    assert Inbox(theirs).get() == "STOP"
