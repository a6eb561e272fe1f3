"""Queued tasks, run by django-q2's own worker."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, OperationalError, transaction
from django.utils import timezone
from django_q.exceptions import TimeoutException
from django_q.models import OrmQ
from django_q.models import Task as FailedTask

from portal.access.tokens import credential
from portal.models import ChannelState, Heartbeat, TaskAttempt
from portal.tasks import outdated_routine
from portal.tests.helpers.workers import deliver, deliver_again
from portal.work import attempts, queue
from portal.work.clusters import cluster_limits
from portal.work.jobs import Lease, claim_cycle, exclusive_lease
from portal.work.processes import HOST, current_process
from portal.work.queue import claim_task, enqueue, queued_calls

pytestmark = pytest.mark.django_db
DEAD = f"{HOST}:4194305:1"
ELSEWHERE = "another-host/12345678:7:1"


@pytest.fixture
def calls(monkeypatch):
    """Return the calls of the task `note`; the task `raise` raises the exception it finds there."""
    noted = []
    monkeypatch.setattr(queue.tasks, "items", [*queue.tasks.all()])

    @queue.task("note")
    def note(*args):
        noted.append(args)

    @queue.task("raise")
    def fail():
        raise noted.pop()

    return noted


def attempt():
    return TaskAttempt.objects.get()


def test_task_runs_once_and_leaves_the_queue(calls):
    enqueue("note", "a", 1, {"b": [None, True]})
    assert deliver() == 1
    assert deliver() == 0
    assert calls == [("a", 1, {"b": [None, True]})]
    assert (attempt().attempts, attempt().error, attempt().worker) == (1, "", current_process())
    assert attempt().finished_at
    assert not FailedTask.objects.exists()


def test_task_waits_for_its_own_cluster(calls):
    enqueue("note", cluster="slow")
    assert deliver("quick") == 0
    assert deliver("slow") == 1


def test_task_is_queued_when_its_transaction_commits(calls):
    with transaction.atomic():
        enqueue("note")
        transaction.set_rollback(True)
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("argument", [timezone.now(), (1, 2), {1: 2}, float("nan"), object()])
def test_task_arguments_must_be_plain_values(calls, argument):
    with pytest.raises(TypeError):
        enqueue("note", argument)


def test_task_arguments_must_fit_into_a_pipe(calls):
    longest = "x" * (queue.MOST_CHARACTERS - len('[""]'))
    enqueue("note", longest)
    with pytest.raises(ValueError, match="longer than"):
        enqueue("note", longest + "x")
    assert OrmQ.objects.count() == 1


def test_unknown_task_name_is_refused_on_enqueue():
    with pytest.raises(LookupError):
        enqueue("no.such.task")


def test_task_unknown_to_an_older_worker_fails(calls, monkeypatch):
    enqueue("note")
    monkeypatch.setattr(queue.tasks, "items", [])
    deliver()
    assert attempt().error == "LookupError: no task is registered as 'note'"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), TimeoutException("no"), KeyboardInterrupt("no")])
def test_task_that_raises_is_failed_and_not_retried(calls, error):
    calls.append(error)
    enqueue("raise")
    deliver()
    assert attempt().error == f"{type(error).__name__}: no"
    assert not OrmQ.objects.exists()


def test_error_is_stored_as_one_redacted_line(calls):
    token = str(credential.mint_token("agent"))
    calls.append(ValueError(f"refused:\n  {token} {'x' * 900}"))
    enqueue("raise")
    deliver()
    kept = attempt().error
    assert kept.startswith(f"ValueError: refused: {token[:24]}_… xxx")
    assert len(kept) == 500
    assert token not in str(FailedTask.objects.get().result)


class TestRedeliveredTask:
    @pytest.fixture
    def queued(self, calls):
        """Enqueue a task that was started once and has neither returned nor raised."""
        enqueue("note")
        row = OrmQ.objects.get()
        TaskAttempt.objects.create(
            task_id=row.task_id(), name="note", cluster="quick", queue_id=row.pk, attempts=1,
            worker=ELSEWHERE, started_at=timezone.now(),
        )  # fmt: skip
        return row

    def test_redelivered_task_is_skipped_while_it_may_be_running(self, queued, calls):
        deliver_again(queued)
        assert calls == []
        assert OrmQ.objects.exists()

    def test_redelivered_task_runs_if_its_worker_is_dead(self, queued, calls):
        TaskAttempt.objects.update(worker=DEAD)
        deliver_again(queued)
        assert calls == [()]
        assert attempt().attempts == 2

    def test_redelivered_task_is_skipped_if_another_worker_starts_it_meanwhile(self, queued, calls, monkeypatch):
        def start_elsewhere(attempt, now):
            TaskAttempt.objects.update(worker=ELSEWHERE, attempts=2)
            return attempts.Start.GO

        monkeypatch.setattr(attempts, "decide_start", start_elsewhere)
        deliver_again(queued)
        assert calls == []
        assert (attempt().worker, attempt().attempts) == (ELSEWHERE, 2)

    def test_redelivered_task_runs_once_its_time_limit_has_passed(self, queued, calls):
        TaskAttempt.objects.update(started_at=timezone.now() - cluster_limits("quick").timeout - timedelta(minutes=1))
        deliver_again(queued)
        assert calls == [()]

    def test_redelivered_task_is_skipped_if_it_has_ended(self, queued, calls):
        TaskAttempt.objects.update(finished_at=timezone.now())
        deliver_again(queued)
        assert calls == []
        assert not OrmQ.objects.exists()

    def test_redelivered_task_is_abandoned_if_it_killed_too_many_workers(self, queued, calls):
        TaskAttempt.objects.update(worker=DEAD, attempts=TaskAttempt.MOST_ATTEMPTS)
        deliver_again(queued)
        assert calls == []
        assert not OrmQ.objects.exists()
        assert attempt().error == "given up: each attempt ended its worker"
        assert TaskAttempt.objects.given_up().exists()


def test_retry_clock_starts_with_the_task(calls, monkeypatch):
    locks = []
    queue.task("look")(lambda: locks.append(OrmQ.objects.get().lock))
    enqueue("look", cluster="slow")
    before = timezone.now()
    deliver("slow")
    assert locks[0] >= before + cluster_limits("slow").retry


def test_task_claimed_by_an_ending_cluster_is_released(calls):
    enqueue("note")
    ending = attempts.cluster_is_ending.set(lambda: True)
    deliver()
    attempts.cluster_is_ending.reset(ending)
    assert calls == []
    assert OrmQ.objects.get().lock <= timezone.now()


def test_task_whose_start_cannot_be_recorded_stays_queued(calls, monkeypatch):
    def fail(*args):
        raise DatabaseError("locked")

    monkeypatch.setattr(attempts, "start_attempt", fail)
    enqueue("note")
    deliver()
    assert OrmQ.objects.exists()


def test_starting_task_counts_as_a_heartbeat_of_its_cluster(calls):
    enqueue("note", cluster="slow")
    deliver("slow")
    assert Heartbeat.objects.get().component == "slow"
    assert timezone.now() - Heartbeat.objects.get().at < timedelta(minutes=1)


def test_successful_routine_tasks_are_pruned_soon(calls):
    now = timezone.now()
    for name, error in (("portal.beat", ""), ("portal.beat", "ValueError"), ("note", "")):
        TaskAttempt.objects.create(
            task_id=f"{name}{error}", name=name, cluster="quick", started_at=now, finished_at=now, error=error
        )
    assert not outdated_routine(now).exists()
    [outdated] = outdated_routine(now + timedelta(hours=2))
    assert (outdated.name, outdated.error) == ("portal.beat", "")


def test_end_is_recorded_once_the_database_is_back(calls, monkeypatch):
    tries = []

    class Away:
        def update(self, **changes):
            tries.append(changes)
            if len(tries) < 3:
                raise OperationalError("away")
            return TaskAttempt.objects.update(**changes)

    enqueue("note")
    real, monkeypatched = TaskAttempt.objects.filter, lambda **found: Away() if "worker" in found else real(**found)
    monkeypatch.setattr(attempts, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(attempts, "close_old_connections", lambda: None)
    monkeypatch.setattr(TaskAttempt.objects, "filter", monkeypatched)
    deliver()
    assert len(tries) == 3
    assert attempt().finished_at is not None
    assert not OrmQ.objects.exists()


def test_ended_task_holds_no_lease_it_failed_to_release(calls, monkeypatch):
    def away(lease):
        raise OperationalError("away")

    monkeypatch.setattr(Lease, "release", away)

    @queue.task("hold")
    def hold():
        ChannelState.objects.create(
            channel="c", holder=current_process(), lease_expires_at=timezone.now() + timedelta(hours=1)
        )
        with exclusive_lease("once"):
            pass

    enqueue("hold")
    deliver()
    assert attempt().error == "OperationalError: away"
    assert claim_cycle("once", "all") is not None
    assert ChannelState.objects.ready(timezone.now()).exists()


def test_tasks_are_claimed_once_in_their_order_and_come_back_after_their_retry_time(calls):
    now = timezone.now()
    OrmQ.objects.create(key="quick", payload="signed by another", lock=now)
    for argument in ("a", "b"):
        enqueue("note", argument)
    enqueue("note", "c", cluster="slow")
    later = now + timedelta(seconds=1)
    claimed = [claim_task("quick", later) for _ in range(3)]
    assert [task and task["args"] for task in claimed] == [("note", "a"), ("note", "b"), None]
    assert {task["cluster"] for task in claimed[:2]} == {"quick"}
    assert list(OrmQ.objects.order_by("pk").values_list("key", flat=True)) == ["quick", "quick", "slow"]
    retry = cluster_limits("quick").retry
    assert claim_task("quick", later + retry) is None
    again = claim_task("quick", later + retry + timedelta(seconds=1))
    assert again["ack_id"] == claimed[0]["ack_id"]


def test_task_that_another_node_claims_first_is_left_to_it(calls, monkeypatch):
    for argument in ("a", "b"):
        enqueue("note", argument)
    first = OrmQ.objects.earliest("pk")
    real, later = queue.cluster_limits, timezone.now() + timedelta(seconds=1)

    def claimed_meanwhile(cluster):
        OrmQ.objects.filter(pk=first.pk).update(lock=later + timedelta(hours=1))
        return real(cluster)

    monkeypatch.setattr(queue, "cluster_limits", claimed_meanwhile)
    assert claim_task("quick", later)["args"] == ("note", "b")


def test_queued_calls_are_found_until_they_end(calls):
    for argument in ("a", "b"):
        enqueue("note", argument)
    enqueue("note", "c", cluster="slow")
    OrmQ.objects.create(key="quick", payload="signed by another", lock=timezone.now())
    assert sorted(queued_calls("note")) == [("a",), ("b",), ("c",)]
    OrmQ.objects.filter(key="slow").update(lock=timezone.now() + timedelta(hours=2))
    assert sorted(queued_calls("note")) == [("a",), ("b",)]
    assert sorted(queued_calls("note", claimed=True)) == [("a",), ("b",), ("c",)]
    row = OrmQ.objects.get(key="slow")
    TaskAttempt.objects.create(
        task_id=row.task_id(), name="note", cluster="slow", started_at=timezone.now(), finished_at=timezone.now()
    )
    assert sorted(queued_calls("note", claimed=True)) == [("a",), ("b",)]
    assert queued_calls("raise") == []
