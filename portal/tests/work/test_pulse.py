"""The pulse's sources, without its loop."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from portal.models import Heartbeat, JobRun
from portal.tests.helpers.workers import deliver
from portal.work import pulse as pulsing
from portal.work import schedules
from portal.work.jobs import claim_cycle
from portal.work.pulse import Pulse, Rounds, ask_for_beats, retry_cycles
from portal.work.schedules import Job

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 10, 10, tzinfo=UTC)


@pytest.fixture
def register(monkeypatch):
    pulsing.pulses.all()
    items = []
    monkeypatch.setattr(pulsing.pulses, "items", items)
    return items.append


def ticks(*seconds):
    rounds = Rounds()
    for second in seconds:
        rounds.tick(START + timedelta(seconds=second))


def test_sources_are_polled_at_their_own_intervals(register):
    asked = {1: [], 5: []}
    for every, noted in asked.items():
        register(Pulse(str(every), lambda now, noted=noted: noted.append(now.second), timedelta(seconds=every)))
    ticks(0, 1.01, 2.02, 3.02, 4.03, 5, 6)
    assert asked == {1: [0, 1, 2, 3, 4, 5, 6], 5: [0, 5]}


def test_clock_set_back_delays_no_source(register):
    asked = []
    register(Pulse("p", lambda now: asked.append(now.second), timedelta(minutes=10)))
    ticks(50, 10)
    assert asked == [50, 10]


@pytest.mark.parametrize("error", [ZeroDivisionError, DatabaseError])
def test_failing_source_does_not_stop_the_others(register, monkeypatch, error):
    def fail(now):
        raise error

    monkeypatch.setattr(pulsing, "close_old_connections", lambda: None)
    asked = []
    register(Pulse("bad", fail))
    register(Pulse("good", lambda now: asked.append(now)))
    ticks(0, 1)
    assert len(asked) == 2


def test_source_that_finds_work_is_polled_again_within_limits(register):
    left = list(range(1000))
    register(Pulse("busy", lambda now: left.pop() >= 0))
    ticks(0)
    assert len(left) == 1000 - pulsing.UNITS_PER_TICK


def waiting(cluster):
    return OrmQ.objects.filter(key=cluster).count()


def test_silent_cluster_is_asked_for_one_heartbeat_at_a_time():
    for _ in range(3):
        ask_for_beats(timezone.now())
    assert (waiting("quick"), waiting("slow")) == (1, 1)


def test_heartbeat_is_requested_again_after_a_new_silence():
    ask_for_beats(timezone.now())
    deliver("quick")
    ask_for_beats(timezone.now())
    assert waiting("quick") == 0
    long_ago = timezone.now() - timedelta(seconds=20)
    Heartbeat.objects.filter(component="quick").update(at=long_ago, asked_at=long_ago)
    ask_for_beats(timezone.now())
    assert waiting("quick") == 1


def test_heartbeat_is_requested_despite_a_claim_of_a_dead_node():
    for cluster in ("quick", "slow"):
        OrmQ.objects.create(key=cluster, payload="", lock=timezone.now() + timedelta(hours=2))
    Heartbeat.objects.create(component="quick", asked_at=timezone.now() - timedelta(minutes=1))
    ask_for_beats(timezone.now())
    assert (waiting("quick"), waiting("slow")) == (2, 2)


def test_lost_heartbeat_is_requested_again():
    ask_for_beats(timezone.now())
    OrmQ.objects.all().delete()
    Heartbeat.objects.update(asked_at=timezone.now() - timedelta(minutes=1))
    ask_for_beats(timezone.now())
    assert waiting("quick") == 1


def test_pulse_synchronises_the_schedules():
    Schedule.objects.create(name="foreign", func="os.getcwd", args="((")
    pulsing.keep_schedules(timezone.now())
    assert {row.name for row in Schedule.objects.all()} == {job.name for job in schedules.jobs.all()}


class TestFailedCycle:
    @pytest.fixture
    def job(self, monkeypatch):
        schedules.jobs.all()
        job = Job("test.daily", lambda lease: "done", timedelta(days=1), cluster="slow")
        monkeypatch.setattr(schedules.jobs, "items", [job])
        return job

    @pytest.fixture
    def now(self):
        return timezone.now()

    @pytest.fixture
    def lease(self, job, now):
        return claim_cycle(job.name, job.cycle_key(now))

    def ended(self, lease, now, **fields):
        JobRun.objects.filter(pk=lease.pk).update(**fields)
        retry_cycles(now)
        return waiting("slow")

    def test_failed_cycle_is_retried_after_a_pause(self, lease, now):
        lease.fail(ValueError())
        assert self.ended(lease, now, finished_at=now - timedelta(minutes=1)) == 0
        assert self.ended(lease, now, finished_at=now - timedelta(minutes=3)) == 1

    def test_failed_cycle_is_queued_only_once(self, lease, now):
        lease.fail(ValueError())
        for _ in range(3):
            assert self.ended(lease, now, finished_at=now - timedelta(minutes=3)) == 1
        deliver("slow")
        assert JobRun.objects.get().status == "done"

    def test_cycle_of_a_killed_holder_is_taken_over(self, lease, now):
        assert self.ended(lease, now, lease_expires_at=now + timedelta(seconds=1)) == 0
        assert self.ended(lease, now, lease_expires_at=now - timedelta(minutes=3)) == 1

    def test_cycle_out_of_attempts_is_not_retried(self, lease, now):
        lease.fail(ValueError())
        assert self.ended(lease, now, finished_at=now - timedelta(hours=1), fence=pulsing.MOST_CLAIMS) == 0

    def test_failed_cycle_is_not_retried_after_the_next_one_started(self, lease, now):
        lease.fail(ValueError())
        retry_cycles(now + timedelta(days=1))
        assert waiting("slow") == 0
