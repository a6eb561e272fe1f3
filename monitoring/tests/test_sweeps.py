"""Sweeps: their pace, all targets once, and one watcher at a time beside the workers."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.conf import settings as portal_settings
from django.db import DatabaseError, OperationalError, connections
from django.utils import timezone

from monitoring import record, rounds, sweeps, watch, watching
from monitoring.console import line_of
from monitoring.models import CheckResult, Incident, Round, Target
from monitoring.sweeps import Occupied, Pace, Seat, Targets, spread, sweep_once
from monitoring.tests.services import Service
from portal.models import Heartbeat, JobRun
from portal.tests.helpers.database import own_address
from portal.work.jobs import claim_cycle

MANAGE = [sys.executable, str(portal_settings.BASE_DIR / "manage.py")]


@pytest.fixture(autouse=True)
def nobody_else(settings):
    """The outside world is not asked."""
    settings.CONNECTIVITY_PROBES = []


@pytest.fixture
def service():
    with Service() as service:
        yield service


@pytest.fixture
def targets(make_target, service, monkeypatch):
    """Checked at once, and not at moments spread over a second."""
    monkeypatch.setattr(sweeps, "SPREAD_OF_ONE", 0.0)
    return [make_target(f"T{number}", url=f"{service.url}/{number}", interval=86_400) for number in range(5)]


def own_settings():
    return {"DATABASE_URL": own_address(), "CONNECTIVITY_PROBES": ""}


class Seen:
    """What a watch is asked and told while it lasts; it is to end after so many sweeps."""

    def __init__(self, most=1):
        self.most = most
        self.waits = 0
        self.shown = []
        self.is_ending = False

    def on_wait(self):
        self.waits += 1

    def show(self, what):
        self.shown.append(what)

    def source(self, interval=60):
        return Targets(Seat(lambda: self.is_ending, lambda: self.on_wait()), interval)

    def sweep(self):
        with self.source() as source:
            return sweep_once(source, lambda: self.is_ending, self.show)


# --- The pace --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked_at", "due"),
    [
        ([100.0], [100.0]),
        ([100.0, 103.0, 111.0], [100.0, 110.0, 120.0]),
        ([100.0, 109.9, 119.9], [100.0, 110.0, 120.0]),
        ([100.0, 110.0], [100.0, 110.0]),
        ([100.0, 110.1], [100.0, 120.0]),
        ([100.0, 147.0, 151.0], [100.0, 150.0, 160.0]),
        ([100.0, 100.0, 100.0], [100.0, 110.0, 120.0]),
    ],
)
def test_rounds_stand_an_interval_apart_and_those_missed_are_left_out(asked_at, due):
    pace = Pace(10)
    assert [pace.next(now) for now in asked_at] == due


@pytest.mark.parametrize(("count", "interval", "seconds"), [(0, 60, 0), (4, 60, 1), (200, 60, 10), (200, 5, 2.5)])
def test_checks_are_spread_no_longer_than_they_need(count, interval, seconds):
    assert spread(count, interval) == seconds


# --- A sweep ---------------------------------------------------------------------------------------------------------

database = pytest.mark.django_db(transaction=True)


@database
def test_a_sweep_checks_all_that_is_active_once_whatever_its_own_interval(targets, service):
    Target.objects.update(next_check_at=timezone.now() + timedelta(hours=5))
    Target.objects.filter(name="T2").update(is_active=False)
    service.statuses["/3"] = 503
    swept = Seen().sweep()
    assert Counter(service.asked) == {f"/{number}": 1 for number in (0, 1, 3, 4)}
    assert (swept.round.checks, swept.round.failures, swept.round.failing) == (4, 1, ["T3"])
    assert Round.objects.get().number == swept.round.number
    assert len(swept.results) == CheckResult.objects.count() == 4
    assert not Target.objects.exclude(claim="").exists()


@database
def test_its_checks_begin_each_at_a_moment_of_its_own(targets, monkeypatch):
    planned = []
    monkeypatch.setattr(watch.Prober, "submit", lambda self, key, spec, due, **kind: planned.append(due))
    monkeypatch.setattr(sweeps, "SPREAD_OF_ONE", 0.25)
    seen = Seen()
    with seen.source() as source:
        sweep = source.begin()
        sweep.claim()
        offsets = sorted(due - sweep.begun for due in planned)
    assert offsets[-1] <= 1.25
    assert min(later - earlier for earlier, later in itertools.pairwise(offsets)) > 0.1


@database
def test_a_failure_is_tried_again_within_the_sweep(make_target, service, monkeypatch):
    monkeypatch.setattr(record, "RETRY_PAUSE", timedelta(seconds=0.1))
    make_target(url=f"{service.url}/x", retries=2)
    service.statuses["/x"] = 500
    swept = Seen().sweep()
    assert service.asked == ["/x"] * 3
    assert (swept.round.checks, swept.round.failures) == (1, 1)


@database
def test_round_counts_the_failures_before_a_retry_that_held(make_target, service, monkeypatch):
    monkeypatch.setattr(record, "RETRY_PAUSE", timedelta(seconds=0.1))
    make_target(url=f"{service.url}/x", retries=2)
    service.statuses["/x"] = [502, 503, 200]
    swept = Seen().sweep()
    assert (swept.round.checks, swept.round.failures, swept.round.retried) == (1, 0, 2)


@database
def test_a_clock_set_back_in_the_middle_of_a_check_keeps_no_sweep_waiting(target, service):
    Target.objects.update(url=service.url, retries=1, attempts=1, next_check_at=timezone.now() + timedelta(hours=1))
    assert Seen().sweep().round.checks == 1


@database
def test_a_retry_that_is_not_due_yet_is_waited_for(target, service):
    Target.objects.update(url=service.url, attempts=1, next_check_at=timezone.now() + timedelta(seconds=30))
    seen = Seen()
    with seen.source() as source:
        sweep = source.begin()
        sweep.step(0.05)
        assert (service.asked, sweep.is_over()) == ([], False)
        watching.check_now(Target.objects.all(), timezone.now())
        while not sweep.is_over():
            sweep.step(0.05)
    assert service.asked == ["/"]


@database
def test_a_target_paused_meanwhile_is_waited_for_by_nobody(targets, service):
    service.gate.clear()
    seen = Seen()
    with seen.source() as source:
        sweep = source.begin()
        sweep.step(0.05)
        watching.pause(Target.objects.filter(name="T1"), "alice")
        service.gate.set()
        while not sweep.is_over():
            sweep.step(0.05)
    assert sorted(result.target.name for result in sweep.results) == ["T0", "T2", "T3", "T4"]


@database
def test_a_target_changed_meanwhile_is_asked_anew(target, service):
    Target.objects.update(url=f"{service.url}/old")
    service.gate.clear()
    seen = Seen()
    with seen.source() as source:
        sweep = source.begin()
        sweep.step(0.05)
        service.arrivals.acquire(timeout=10)
        Target.objects.update(url=f"{service.url}/new")
        watching.changed(Target.objects.get(), "alice")
        service.gate.set()
        while not sweep.is_over():
            sweep.step(0.05)
    assert service.asked == ["/old", "/new"]
    assert CheckResult.objects.count() == 1


@database
def test_a_sweep_that_is_stopped_waits_for_what_it_has_begun_and_for_no_retry(targets, service):
    Target.objects.update(retries=1)
    service.statuses["/1"] = 500
    service.gate.clear()
    seen = Seen()
    with seen.source() as source:
        sweep = source.begin()
        sweep.step(0.05)
        sweep.stop()
        assert not sweep.is_over()
        service.gate.set()
        while not sweep.is_over():
            sweep.step(0.05)
    assert sorted(result.target.name for result in sweep.results) == ["T0", "T2", "T3", "T4"]
    assert len(service.asked) == 5


@database
def test_a_sweep_stopped_before_it_began_leaves_nothing(targets, service):
    seen = Seen()
    with seen.source() as source:
        swept = sweep_once(source, lambda: True, seen.show)
    assert (swept.round, service.asked) == (None, [])
    assert not Round.objects.exists()


@database
def test_it_says_how_far_it_has_come(targets, service):
    service.statuses["/1"] = 500
    seen = Seen()
    seen.sweep()
    last = seen.shown[-1]
    assert (last.done, last.total, last.failing) == (5, 5, 1)


@database
def test_two_sweeps_open_an_incident_and_two_close_it(targets, service):
    service.statuses["/1"] = 500
    seen = Seen()
    with seen.source() as source:
        for status in (500, 500, 200, 200):
            service.statuses["/1"] = status
            sweep_once(source, lambda: False, seen.show)
            incident = Incident.objects.filter(target=targets[1]).first()
            if status == 500:
                opened = incident
    assert opened.resolved_at is None
    assert incident.resolved_at is not None
    numbers = list(Round.objects.order_by("number").values_list("number", flat=True))
    assert numbers == [1, 2, 3, 4]


@database
def test_a_database_that_is_gone_for_a_moment_loses_no_result(targets, service, monkeypatch):
    failures = iter([OperationalError("gone"), None, OperationalError("gone")])
    sound = watch.record

    def record_or_fail(batch, now):
        if error := next(failures, None):
            raise error
        return sound(batch, now)

    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(watch, "record", record_or_fail)
    assert Seen().sweep().round.checks == 5
    assert len(service.asked) == 5  # each once: what is lost would be checked again


@database
def test_a_database_that_is_gone_when_targets_are_claimed_is_asked_again(targets, monkeypatch):
    sound, failures = watch.Watch.claim, iter([DatabaseError("gone")])

    def claim_or_fail(self, *arguments):
        if error := next(failures, None):
            raise error
        return sound(self, *arguments)

    monkeypatch.setattr(watch.Watch, "claim", claim_or_fail)
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.0)
    assert Seen().sweep().round.checks == 5


def gone(*arguments, **named):
    raise OperationalError("gone")


@database
def test_what_cannot_be_written_down_keeps_no_sweep_that_is_stopped_from_ending(targets, monkeypatch):
    monkeypatch.setattr(watch, "record", gone)
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(sweeps, "UNWRITTEN_SECONDS", 0.1)
    seen = Seen()
    with seen.source() as source:
        swept = sweep_once(source, lambda: bool(seen.shown), seen.show)
    assert (swept.round, swept.results, swept.is_lost, swept.is_stopped) == (None, [], True, True)


@database
def test_a_check_under_way_is_waited_for_however_long_it_takes(targets, service, monkeypatch):
    monkeypatch.setattr(sweeps, "UNWRITTEN_SECONDS", 0.1)
    service.gate.clear()
    seen = Seen()
    with seen.source() as source:
        sweep = source.begin()
        sweep.step(0.05)
        sweep.stop()
        for _ in range(10):
            sweep.step(0.05)
        assert not sweep.is_over()
        service.gate.set()
        while not sweep.is_over():
            sweep.step(0.05)
    assert (len(sweep.results), sweep.is_lost) == (5, False)


@database
def test_a_round_that_cannot_be_written_down_keeps_its_results(targets, monkeypatch):
    monkeypatch.setattr(watch.Watch, "close", gone)
    swept = Seen().sweep()
    assert (swept.round, len(swept.results), swept.is_lost) == (None, 5, True)
    assert line_of(swept) == "The round could not be written down."


@database
def test_a_database_that_is_gone_is_not_asked_all_the_time(targets, monkeypatch, caplog):
    for where, name in ((watch.Watch, "claim"), (rounds, "renew")):
        monkeypatch.setattr(where, name, gone)
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 3600.0)
    seen = Seen()
    with seen.source() as source:
        sweep = source.begin()
        for _ in range(5):
            source.keep()
            sweep.step(0.0)
        assert len(caplog.messages) == 2
        sweep.next_claim = source.seat.next_renewal = 0.0
        source.keep()
        sweep.step(0.0)
    assert len(caplog.messages) == 4


# --- The watch -------------------------------------------------------------------------------------------------------


@database
def test_a_watch_goes_on_until_it_is_asked_to_end(targets, service):
    seen, found = Seen(), []
    with seen.source(interval=0.01) as source:
        for swept in sweeps.sweeps(source, 0.01, lambda: seen.is_ending, seen.show):
            found.append(swept)
            seen.is_ending = len(found) == 3
    assert [swept.round.number for swept in found] == [1, 2, 3]
    assert all(swept.is_too_long for swept in found)
    assert len(service.asked) == 15


@database
def test_it_says_how_long_it_is_until_the_next_round(targets):
    seen = Seen()

    def show(what):
        seen.show(what)
        seen.is_ending = isinstance(what, float)

    with seen.source() as source:
        assert len(list(sweeps.sweeps(source, 3600, lambda: seen.is_ending, show))) == 1
    assert 3590 < seen.shown[-1] <= 3600


@database
def test_a_watch_that_is_to_end_before_it_began_checks_nothing(targets, service):
    seen = Seen()
    seen.is_ending = True
    with seen.source() as source:
        assert list(sweeps.sweeps(source, 60, lambda: seen.is_ending, seen.show)) == []
    assert service.asked == []


@database
def test_a_round_that_finds_no_database_is_left_out(targets, monkeypatch):
    failures = iter([None, DatabaseError("gone")])

    def release_or_fail():
        if error := next(failures, None):
            raise error

    monkeypatch.setattr(watch, "release_dead", release_or_fail)
    seen, found = Seen(), []
    with seen.source(interval=0.01) as source:
        for swept in sweeps.sweeps(source, 0.01, lambda: seen.is_ending, seen.show):
            found.append(swept.round.number)
            seen.is_ending = len(found) == 2
    assert found == [1, 3]


@database
def test_without_a_database_the_watch_ends_all_the_same(targets, monkeypatch):
    def fail(lease):
        raise DatabaseError("gone")

    seen = Seen()
    with seen.source() as source:
        source.begin()
        monkeypatch.setattr("portal.work.jobs.Lease.release", fail)
    with pytest.raises(RuntimeError, match="closed"):
        source.prober.submit("x", None, 0.0)


# --- One watcher -----------------------------------------------------------------------------------------------------


@database
def test_while_somebody_watches_workers_make_no_round(targets, service, monkeypatch):
    monkeypatch.setattr(rounds, "PATIENCE_SECONDS", 0.1)
    seen = Seen()
    with seen.source() as source:
        sweep_once(source, lambda: False, seen.show)
        assert rounds.run_round(length=0.1) is None
        assert not rounds.is_unwatched(timezone.now())
    assert JobRun.objects.get(job=rounds.JOB).status == "waiting"
    Target.objects.update(next_check_at=timezone.now())
    assert rounds.run_round(length=0.1).number == 2


@database
def test_it_waits_for_the_workers_round_to_end(targets, service):
    lease = rounds.take(0)
    seen = Seen()
    seen.on_wait = lease.release
    assert seen.sweep().round.number == lease.fence + 1


@database
def test_it_looks_more_often_when_the_round_is_about_to_end(db):
    rounds.take(0)
    assert not sweeps.is_about_to_end()
    JobRun.objects.update(started_at=timezone.now() - timedelta(seconds=57))
    assert not sweeps.is_about_to_end()
    JobRun.objects.update(started_at=timezone.now() - timedelta(seconds=58))
    assert sweeps.is_about_to_end()


@database
def test_it_does_not_wait_for_ever(targets, service, monkeypatch):
    monkeypatch.setattr(sweeps, "PATIENCE_SECONDS", 0.05)
    rounds.take(0)
    with pytest.raises(Occupied):
        Seen().sweep()
    assert service.asked == []


@database
def test_whoever_is_to_end_does_not_go_on_waiting(targets, service):
    rounds.take(0)
    seen = Seen()
    seen.on_wait = lambda: setattr(seen, "is_ending", True)
    assert seen.sweep() is None


@database
def test_it_keeps_its_lease_for_as_long_as_it_watches(targets, monkeypatch):
    seen = Seen()
    with seen.source() as source:
        source.begin()
        monkeypatch.setattr(rounds, "RENEW_SECONDS", 1000.0)
        for is_due, is_kept in ((False, True), (False, False), (True, True)):
            if is_due:
                source.seat.next_renewal -= 1000.0
            JobRun.objects.update(lease_expires_at=timezone.now())
            Heartbeat.objects.all().delete()
            assert source.keep()
            assert (JobRun.objects.get().lease_expires_at > timezone.now()) is is_kept
            assert Heartbeat.objects.filter(component=rounds.BEAT).exists() is is_kept


@database
def test_who_was_overtaken_ends_his_sweep_and_waits_for_his_turn(targets, service):
    """As one that was stopped with Ctrl-Z for longer than its lease."""
    seen = Seen()
    with seen.source() as source:
        first = source.begin()
        JobRun.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        others = rounds.take(0)
        assert not source.keep()
        assert source.seat.lease is None
        seen.on_wait = others.release
        second = source.begin()
    assert first.run.number < others.fence < second.run.number


@database
def test_a_lease_that_cannot_be_renewed_for_want_of_a_database_is_not_given_up(targets, monkeypatch):
    def fail(lease):
        raise DatabaseError("gone")

    monkeypatch.setattr(rounds, "renew", fail)
    seen = Seen()
    with seen.source() as source:
        source.begin()
        assert source.keep()


@database
def test_between_two_sweeps_nobody_comes_in(targets, service):
    """Somebody asks for the lease all the time, and gets it once it is given back for good."""
    is_over, theirs = threading.Event(), []

    def insist():
        while not theirs and not is_over.wait(0.001):
            if lease := claim_cycle(rounds.JOB, rounds.CYCLE, rounds.LEASE):
                theirs.append(lease.fence)
        connections.close_all()

    seen = Seen()
    with seen.source() as source:
        source.begin()
        other = threading.Thread(target=insist)
        other.start()
        numbers = [source.begin().run.number for _ in range(30)]
        assert theirs == []
    other.join(timeout=20)
    is_over.set()
    assert numbers == list(range(2, 32))
    assert theirs == [32]


@database
def test_of_two_watchers_each_target_is_checked_by_one_at_a_time(targets, service):
    """In real processes: the second waits for the first, which waits for answers until we let it have them."""
    Target.objects.update(timeout=60)
    environment = os.environ | own_settings() | {"FLEET_LATENCY_ALERT_MS": "60000"}
    command = [*MANAGE, "beta_monitor"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    service.gate.clear()
    first = subprocess.Popen(command, **pipes)
    for _ in targets:
        assert service.arrivals.acquire(timeout=60)
    with subprocess.Popen(command, **pipes) as second:
        assert "Waiting for its end" in second.stderr.readline()
        assert len(service.asked) == 5
        service.gate.set()
        first.communicate(timeout=60)
        second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert Counter(service.asked) == {f"/{number}": 2 for number in range(5)}
    assert list(Round.objects.order_by("number").values_list("checks", flat=True)) == [5, 5]


@database
def test_what_a_killed_watcher_had_begun_is_taken_up_by_the_next(targets, service):
    service.gate.clear()
    with subprocess.Popen([*MANAGE, "beta_monitor"], env=os.environ | own_settings()) as killed:
        for _ in targets:
            assert service.arrivals.acquire(timeout=60)
        killed.send_signal(signal.SIGKILL)
    service.gate.set()
    JobRun.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert Seen().sweep().round.checks == 5
