"""Facts that the watchdog gathers about a cluster."""

import os
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from portal.models import ChannelState, Heartbeat, JobRun, TaskAttempt
from portal.supervisor import facts
from portal.supervisor.facts import gather_facts, recover_and_check_stall
from portal.work import processes
from portal.work.clusters import cluster_limits
from portal.work.processes import HOST, current_process, dead_processes, pid_here

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
DEAD = f"{HOST}:4194305:1"
ELSEWHERE = "another-host/12345678:7:1"


@pytest.fixture(autouse=True)
def kept_connection(monkeypatch):
    monkeypatch.setattr(facts, "close_old_connections", lambda: None)


@pytest.fixture
def now():
    return timezone.now()


def attempt(worker, started_at, queue_id=None, finished_at=None, task_id="t", cluster="quick"):
    return TaskAttempt.objects.create(
        task_id=task_id, name="x", cluster=cluster, queue_id=queue_id, attempts=1, worker=worker,
        started_at=started_at, finished_at=finished_at,
    )  # fmt: skip


def queued(lock, cluster="quick"):
    return OrmQ.objects.create(key=cluster, payload="", lock=lock)


def known(now):
    return gather_facts("quick", now - 60 * MINUTE, now, [*TaskAttempt.objects.running("quick")])


def test_reused_pid_is_another_process():
    assert pid_here(current_process()) == os.getpid()
    reborn = f"{HOST}:{os.getpid()}:1"
    assert dead_processes([reborn, DEAD, ELSEWHERE, current_process(), ""]) == {reborn, DEAD}


def test_process_is_recognised_after_a_host_rename(monkeypatch):
    mine, gone = current_process(), DEAD.replace(HOST.partition("/")[0], "former-name")
    monkeypatch.setattr(processes, "HOST", f"new-name/{processes.SYSTEM}")
    assert dead_processes([mine, gone]) == {gone}


@pytest.mark.parametrize(("seconds", "found"), [(5, set()), (15, {ELSEWHERE}), (-60, {ELSEWHERE})])
def test_remote_process_is_dead_once_its_node_is_silent(silent_node, seconds, found):
    silent_node(timedelta(seconds=seconds))
    assert dead_processes([ELSEWHERE]) == found


def test_no_node_is_dead_right_after_an_outage_of_the_database(silent_node):
    silent_node(seen_for=timedelta(seconds=1))
    assert dead_processes([ELSEWHERE]) == set()


def test_silence_ends_a_series_of_heartbeats(silent_node):
    silent_node()
    own = Heartbeat.objects.filter(where=HOST)
    processes.record_heartbeat()
    own.update(at=timezone.now() - timedelta(seconds=3))
    processes.record_heartbeat()
    assert own.get().unbroken_since < timezone.now() - timedelta(seconds=50)
    own.update(at=timezone.now() - timedelta(seconds=11))
    processes.record_heartbeat()
    assert own.get().unbroken_since > timezone.now() - timedelta(seconds=50)


def test_running_portal_shows_its_node_alive():
    processes.record_heartbeat()
    assert Heartbeat.objects.get().where == HOST
    assert Heartbeat.objects.get().component == f"node:{processes.SYSTEM}"


def test_only_workers_of_this_cluster_count_as_busy(now):
    attempt(current_process(), now, task_id="own")
    attempt(current_process(), now, task_id="done", finished_at=now)
    attempt(current_process(), now, task_id="slow", cluster="slow")
    attempt(f"{HOST}:1:{pid_born_of_init()}", now, task_id="group")
    attempt(DEAD, now, task_id="dead")
    attempt(ELSEWHERE, now, task_id="elsewhere")
    assert known(now).busy == 1


def pid_born_of_init():
    with open("/proc/1/stat") as file:
        return file.read().rpartition(")")[2].split()[19]


def test_last_activity_is_the_last_start_or_end_of_a_task(now):
    attempt(current_process(), now - 3 * MINUTE, task_id="runs")
    assert known(now).active_at == now - 3 * MINUTE
    attempt(current_process(), now - 9 * MINUTE, task_id="ended", finished_at=now - MINUTE)
    assert known(now).active_at == now - MINUTE


def test_queue_facts_list_waiting_and_claimed_tasks(now):
    queued(now - MINUTE)
    queued(now - 2 * MINUTE)
    queued(now - 9 * MINUTE, "slow")
    claimed = queued(now - MINUTE + cluster_limits("quick").retry)
    running = queued(now + cluster_limits("quick").retry)
    attempt(current_process(), now, running.pk)
    facts = known(now)
    assert facts.unclaimed_since == now - 2 * MINUTE
    assert [(claim.queue_id, claim.at) for claim in facts.unstarted] == [(claimed.pk, now - MINUTE)]


@pytest.mark.parametrize("worker", [DEAD, ELSEWHERE])
def test_task_of_a_dead_worker_is_released(now, silent_node, worker):
    silent_node()
    row = queued(now + MINUTE)
    attempt(worker, now, row.pk)
    assert not recover_and_check_stall("quick", now, 2 * MINUTE)
    assert TaskAttempt.objects.get().worker == ""
    row.refresh_from_db()
    assert row.lock <= timezone.now()


def test_channel_and_job_of_a_dead_process_are_released(now):
    for model, name in (
        (ChannelState, {"channel": "c"}),
        (JobRun, {"job": "j", "cycle_key": "all", "status": "running"}),
    ):
        model.objects.create(**name, holder=DEAD, lease_expires_at=now + MINUTE)
    recover_and_check_stall("quick", now, 2 * MINUTE)
    assert ChannelState.objects.ready(timezone.now()).exists()
    assert JobRun.objects.claimable(timezone.now()).exists()


def test_stalled_cluster_must_end_and_releases_its_claims(now):
    queued(now - 9 * MINUTE)
    claimed = queued(now - MINUTE + cluster_limits("quick").retry)
    assert recover_and_check_stall("quick", now - 60 * MINUTE, 2 * MINUTE)
    claimed.refresh_from_db()
    assert claimed.lock <= timezone.now()
