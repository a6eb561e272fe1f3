"""A sweep checks all targets once, beside the workers: `beta_monitor` without `--watch`."""

import itertools
import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DatabaseError, OperationalError, connections
from django.utils import timezone

from monitoring import controls
from monitoring.checks import active_round, pacing, record, sweeps, worker_rounds
from monitoring.checks.sweeps import LeaseUnavailable, Progress, Sweep, sweep_once
from monitoring.models import CheckResult, Incident, Round, Target
from monitoring.terminal.screen import format_round
from monitoring.tests.helpers.http_service import HttpService
from portal.models import JobRun
from portal.tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_connectivity_probes(settings):
    settings.CONNECTIVITY_PROBES = []


@pytest.fixture(autouse=True)
def kept_connection(monkeypatch):
    """The connection holds the test's transaction: closing it would end the test."""
    for module in (worker_rounds, sweeps, active_round):
        monkeypatch.setattr(module, "close_old_connections", lambda: None)


@pytest.fixture
def service():
    with HttpService() as service:
        yield service


@pytest.fixture
def targets(make_target, service, monkeypatch):
    """Five targets, checked at once instead of over a second."""
    monkeypatch.setattr(pacing, "SPREAD_OF_ONE", 0.0)
    return [make_target(f"T{number}", url=f"{service.url}/{number}", interval=86_400) for number in range(5)]


@pytest.fixture
def start_sweep():
    """Return a function that starts a sweep whose steps the test makes itself."""
    with active_round.make_prober() as prober:
        yield lambda: Sweep(
            active_round.ActiveRound(worker_rounds.take_lease(0).fence, prober, active_round.make_connectivity())
        )


def finish(sweep):
    while not sweep.is_over():
        sweep.step(0.05)


def sweep_all(*, is_ending=lambda: False, on_wait=lambda: None, show=lambda progress: None):
    return sweep_once(is_ending, on_wait, show)


def gone(*arguments, **options):
    raise OperationalError("gone")


# --- A sweep ---------------------------------------------------------------------------------------------------------


def test_sweep_checks_each_active_target_once_whatever_its_interval(targets, service):
    Target.objects.update(next_check_at=timezone.now() + timedelta(hours=5))
    Target.objects.filter(name="T2").update(is_active=False)
    service.statuses["/3"] = 503
    swept = sweep_all()
    assert Counter(service.asked) == {f"/{number}": 1 for number in (0, 1, 3, 4)}
    assert (swept.round.checks, swept.round.failures, swept.round.failing) == (4, 1, ["T3"])
    assert Round.objects.get().number == swept.round.number
    assert len(swept.results) == CheckResult.objects.count() == 4
    assert not Target.objects.exclude(claim="").exists()


def test_checks_of_a_sweep_start_at_different_moments(targets, start_sweep, monkeypatch):
    planned = []
    monkeypatch.setattr(active_round.Prober, "submit", lambda self, key, spec, due, **kind: planned.append(due))
    monkeypatch.setattr(pacing, "SPREAD_OF_ONE", 0.25)
    sweep = start_sweep()
    sweep.claim()
    offsets = sorted(due - sweep.started for due in planned)
    assert offsets[-1] <= 1.25
    assert min(later - earlier for earlier, later in itertools.pairwise(offsets)) > 0.1


def test_failure_is_retried_within_the_sweep(make_target, service, monkeypatch):
    monkeypatch.setattr(record, "RETRY_PAUSE", timedelta(seconds=0.1))
    make_target(url=f"{service.url}/x", retries=2)
    service.statuses["/x"] = 500
    swept = sweep_all()
    assert service.asked == ["/x"] * 3
    assert (swept.round.checks, swept.round.failures) == (1, 1)


def test_round_counts_the_failures_before_a_successful_retry(make_target, service, monkeypatch):
    monkeypatch.setattr(record, "RETRY_PAUSE", timedelta(seconds=0.1))
    make_target(url=f"{service.url}/x", retries=2)
    service.statuses["/x"] = [502, 503, 200]
    swept = sweep_all()
    assert (swept.round.checks, swept.round.failures, swept.round.retried) == (1, 0, 2)


def test_retry_planned_before_the_clock_was_set_back_is_made_at_once(target, service):
    Target.objects.update(url=service.url, retries=1, attempts=1, next_check_at=timezone.now() + timedelta(hours=1))
    assert sweep_all().round.checks == 1


def test_sweep_waits_for_a_retry_that_is_not_due_yet(target, service, start_sweep):
    Target.objects.update(url=service.url, attempts=1, next_check_at=timezone.now() + timedelta(seconds=30))
    sweep = start_sweep()
    sweep.step(0.05)
    assert (service.asked, sweep.is_over()) == ([], False)
    controls.request_checks(Target.objects.all(), timezone.now())
    finish(sweep)
    assert service.asked == ["/"]


def test_sweep_does_not_wait_for_a_target_paused_meanwhile(targets, service, start_sweep):
    service.gate.clear()
    sweep = start_sweep()
    sweep.step(0.05)
    controls.pause_targets(Target.objects.filter(name="T1"), "alice")
    service.gate.set()
    finish(sweep)
    assert sorted(result.target.name for result in sweep.results) == ["T0", "T2", "T3", "T4"]


def test_target_changed_during_its_check_is_checked_again(target, service, start_sweep):
    Target.objects.update(url=f"{service.url}/old")
    service.gate.clear()
    sweep = start_sweep()
    sweep.step(0.05)
    service.arrivals.acquire(timeout=PATIENCE)
    Target.objects.update(url=f"{service.url}/new")
    controls.restart_checks(Target.objects.get(), "alice")
    service.gate.set()
    finish(sweep)
    assert service.asked == ["/old", "/new"]
    assert CheckResult.objects.count() == 1


def test_stopped_sweep_finishes_its_checks_without_retrying(targets, service, start_sweep):
    Target.objects.update(retries=1)
    service.statuses["/1"] = 500
    service.gate.clear()
    sweep = start_sweep()
    sweep.step(0.05)
    sweep.stop()
    assert not sweep.is_over()
    service.gate.set()
    finish(sweep)
    assert sorted(result.target.name for result in sweep.results) == ["T0", "T2", "T3", "T4"]
    assert len(service.asked) == 5


def test_sweep_stopped_before_its_first_check_stores_no_round(targets, service):
    swept = sweep_all(is_ending=lambda: True)
    assert (swept.round, service.asked) == (None, [])
    assert not Round.objects.exists()


def test_progress_counts_checked_and_failing_targets(targets, service):
    service.statuses["/1"] = 500
    shown = []
    sweep_all(show=shown.append)
    assert shown[-1] == Progress(done=5, total=5, failing=1)


def test_two_failing_sweeps_open_an_incident_and_two_good_ones_close_it(targets, service):
    for status in (500, 500):
        service.statuses["/1"] = status
        sweep_all()
    assert Incident.objects.get(target=targets[1]).resolved_at is None
    for status in (200, 200):
        service.statuses["/1"] = status
        sweep_all()
    assert Incident.objects.get(target=targets[1]).resolved_at is not None
    assert list(Round.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3, 4]


# --- Without a database ----------------------------------------------------------------------------------------------


def test_results_are_kept_until_the_database_is_back(targets, service, monkeypatch):
    failures = iter([OperationalError("gone"), None, OperationalError("gone")])
    sound = active_round.record_checks

    def record_or_fail(batch, now):
        if error := next(failures, None):
            raise error
        return sound(batch, now)

    monkeypatch.setattr(active_round, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(active_round, "record_checks", record_or_fail)
    assert sweep_all().round.checks == 5
    assert len(service.asked) == 5, "a result was lost, and its target checked again"


def test_claiming_is_tried_again_when_the_database_is_back(targets, monkeypatch):
    sound, failures = active_round.ActiveRound.claim, iter([DatabaseError("gone")])

    def claim_or_fail(self, *arguments):
        if error := next(failures, None):
            raise error
        return sound(self, *arguments)

    monkeypatch.setattr(active_round.ActiveRound, "claim", claim_or_fail)
    monkeypatch.setattr(active_round, "PAUSE_SECONDS", 0.0)
    assert sweep_all().round.checks == 5


def test_stopped_sweep_gives_up_results_that_cannot_be_stored(targets, monkeypatch):
    monkeypatch.setattr(active_round, "record_checks", gone)
    monkeypatch.setattr(active_round, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(sweeps, "UNWRITTEN_SECONDS", 0.1)
    shown = []
    swept = sweep_all(is_ending=lambda: bool(shown), show=shown.append)
    assert (swept.round, swept.results, swept.is_lost, swept.is_stopped) == (None, [], True, True)


def test_stopped_sweep_waits_for_a_check_under_way_however_long_it_takes(targets, service, start_sweep, monkeypatch):
    monkeypatch.setattr(sweeps, "UNWRITTEN_SECONDS", 0.1)
    service.gate.clear()
    sweep = start_sweep()
    sweep.step(0.05)
    sweep.stop()
    for _ in range(10):
        sweep.step(0.05)
    assert not sweep.is_over()
    service.gate.set()
    finish(sweep)
    assert (len(sweep.results), sweep.is_lost) == (5, False)


def test_round_that_cannot_be_stored_keeps_its_results(targets, monkeypatch):
    monkeypatch.setattr(active_round.ActiveRound, "close", gone)
    swept = sweep_all()
    assert (swept.round, len(swept.results), swept.is_lost) == (None, 5, True)
    assert format_round(swept) == "The round could not be saved."


def test_missing_database_is_asked_once_a_pause(targets, start_sweep, monkeypatch, caplog):
    monkeypatch.setattr(active_round.ActiveRound, "claim", gone)
    monkeypatch.setattr(active_round, "PAUSE_SECONDS", 3600.0)
    sweep = start_sweep()
    for _ in range(5):
        sweep.step(0.0)
    assert len(caplog.messages) == 1
    sweep.next_claim = 0.0
    sweep.step(0.0)
    assert len(caplog.messages) == 2


# --- One watcher at a time -------------------------------------------------------------------------------------------


def test_workers_make_no_round_during_a_sweep_and_go_on_after_it(targets, service, monkeypatch):
    monkeypatch.setattr(worker_rounds, "PATIENCE_SECONDS", 0.0)
    found = []
    sweep_all(show=lambda progress: found.append(worker_rounds.run_round(length=0.1)))
    assert set(found) == {None}
    Target.objects.update(next_check_at=timezone.now())
    assert worker_rounds.run_round(length=0.1).number == 2


def test_sweep_waits_for_the_workers_round_to_end(targets):
    lease = worker_rounds.take_lease(0)
    assert sweep_all(on_wait=lease.release).round.number == lease.fence + 1


def test_sweep_looks_more_often_when_the_workers_round_is_about_to_end(db):
    worker_rounds.take_lease(0)
    assert not sweeps.is_about_to_end()
    JobRun.objects.update(started_at=timezone.now() - timedelta(seconds=57))
    assert not sweeps.is_about_to_end()
    JobRun.objects.update(started_at=timezone.now() - timedelta(seconds=58))
    assert sweeps.is_about_to_end()


def test_sweep_gives_up_if_the_workers_keep_the_lease(targets, service, monkeypatch):
    monkeypatch.setattr(sweeps, "PATIENCE_SECONDS", 0.05)
    worker_rounds.take_lease(0)
    with pytest.raises(LeaseUnavailable):
        sweep_all()
    assert service.asked == []


def test_sweep_that_is_to_end_stops_waiting_for_the_lease(targets):
    worker_rounds.take_lease(0)
    assert sweep_all(is_ending=lambda: True) is None


def test_sweep_whose_lease_was_taken_over_stops(targets, service, monkeypatch):
    """As after Ctrl-Z for longer than the lease."""
    monkeypatch.setattr(worker_rounds, "RENEW_SECONDS", 0.0)
    service.gate.clear()

    def take_over(progress):
        JobRun.objects.update(fence=7)
        if progress.is_stopped:
            service.gate.set()

    assert sweep_all(show=take_over).is_stopped


# --- The lease -------------------------------------------------------------------------------------------------------


def test_watch_lease_is_renewed_when_it_is_due(monkeypatch):
    monkeypatch.setattr(worker_rounds, "RENEW_SECONDS", 1000.0)
    lease = worker_rounds.take_lease(0)
    for is_due, is_renewed in ((True, True), (False, False), (True, True)):
        if is_due:
            lease.next_renewal -= 1000.0
        JobRun.objects.update(lease_expires_at=timezone.now())
        worker_rounds.Heartbeat.objects.all().delete()
        assert lease.keep()
        assert (JobRun.objects.get().lease_expires_at > timezone.now()) is is_renewed
        assert worker_rounds.Heartbeat.objects.filter(component=worker_rounds.HEARTBEAT).exists() is is_renewed


def test_watch_lease_is_not_given_up_for_want_of_a_database(monkeypatch, caplog):
    lease = worker_rounds.take_lease(0)
    monkeypatch.setattr(active_round, "PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr("portal.work.jobs.Lease.extend", gone)
    assert [lease.keep(), lease.keep()] == [True, True]
    assert len(caplog.messages) == 1, "the database was asked again before the pause was over"


def test_watch_lease_that_cannot_be_released_expires_by_itself(monkeypatch):
    lease = worker_rounds.take_lease(0)
    monkeypatch.setattr("portal.work.jobs.Lease.release", gone)
    lease.release()


# --- Beside other processes ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_second_sweep_waits_for_the_first_and_checks_each_target_again(targets, service):
    Target.objects.update(timeout=60)
    service.gate.clear()

    def sweep_first():
        try:
            return sweep_all()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sweep_first)
        for _ in targets:
            assert service.arrivals.acquire(timeout=PATIENCE)
        assert sweep_all(on_wait=service.gate.set).round.checks == 5
        assert first.result(timeout=PATIENCE).round.checks == 5
    assert Counter(service.asked) == {f"/{number}": 2 for number in range(5)}
    assert list(Round.objects.order_by("number").values_list("checks", flat=True)) == [5, 5]


def test_targets_of_a_killed_sweep_are_checked_by_the_next(targets, service, start_elsewhere):
    service.gate.clear()
    killed = start_elsewhere(sweep_all)
    for _ in targets:
        assert service.arrivals.acquire(timeout=PATIENCE)
    os.kill(killed, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(killed, 0)[1]) == -signal.SIGKILL
    assert Target.objects.exclude(claim="").count() == 5
    service.gate.set()
    JobRun.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep_all().round.checks == 5
