"""The workers' rounds: one watcher at a time, against a real service, and whatever becomes of the watcher."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError, connections
from django.utils import timezone
from django_q.models import OrmQ

from monitoring import schedules
from monitoring.alerts.incidents import send_reminders
from monitoring.checks import active_round, record, worker_rounds
from monitoring.checks.active_round import ActiveRound
from monitoring.checks.connectivity import Connectivity
from monitoring.checks.worker_rounds import TASK, ensure_watched, run_round, take_lease
from monitoring.clock import mark
from monitoring.models import CheckResult, Incident, MaintenanceWindow, Round, Target
from monitoring.probe.http import ProbeOutcome
from monitoring.probe.pool import FinishedProbe, Prober
from monitoring.querysets import TargetQuerySet
from monitoring.schedules import (
    ensure_rounds,
    outdated_checks,
    outdated_minutes,
    outdated_rounds,
)
from monitoring.tests.conftest import NOON, good_outcome
from monitoring.tests.helpers.http_service import HttpService
from portal.models import Heartbeat, JobRun, OutboxMessage
from portal.tests.helpers.database import own_address
from portal.tests.helpers.workers import deliver
from portal.work import attempts
from portal.work.jobs import Lease, claim_cycle
from portal.work.processes import HOST, current_process
from portal.work.queue import enqueue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_else(settings):
    """The outside world is not asked."""
    settings.CONNECTIVITY_PROBES = []


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(active_round, "PAUSE_SECONDS", 0)


@pytest.fixture
def service():
    with HttpService() as service:
        yield service


@pytest.fixture
def targets(make_target, service):
    return [make_target(f"T{number}", url=f"{service.url}/{number}", interval=86_400) for number in range(5)]


@pytest.fixture
def run():
    """A round whose time the test keeps itself."""
    with Prober(threads=20) as prober:
        yield ActiveRound(1, prober, Connectivity([], was_ever_online=False))


def finish(run):
    while not run.is_over():
        run.step(0.05)


def queued():
    return OrmQ.objects.filter(key="quick").count()


# --- A round ---------------------------------------------------------------------------------------------------------


def test_round_checks_each_due_target_once_and_stores_the_sum(targets, service):
    service.statuses["/3"] = 503
    found = run_round(length=0.1)
    assert Counter(service.asked) == {f"/{number}": 1 for number in range(5)}
    assert (found.checks, found.failures, found.failing) == (5, 1, ["T3"])
    assert CheckResult.objects.get(target=targets[3]).detail == "503"
    assert (found.p95_ms >= found.mean_ms > 0, found.error_rate) == (True, 0.2)
    assert not Target.objects.exclude(claim="").exists()


def test_targets_not_due_or_paused_are_not_checked(targets, service):
    Target.objects.filter(name__in=["T0", "T1"]).update(next_check_at=timezone.now() + timedelta(minutes=5))
    Target.objects.filter(name="T2").update(is_active=False)
    run_round(length=0.1)
    assert sorted(service.asked) == ["/3", "/4"]


def test_round_without_due_targets_is_not_stored(db):
    assert run_round(length=0.05) is None
    assert not Round.objects.exists()


def test_failure_is_retried_within_the_round(make_target, service):
    make_target(url=f"{service.url}/x", retries=1, interval=86_400)
    service.statuses["/x"] = 500
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "RETRY_PAUSE", timedelta(seconds=0.1))
        found = run_round(length=1.5)
    assert service.asked == ["/x", "/x"]
    assert (found.checks, found.failures) == (1, 1)


def test_rounds_are_numbered_by_the_lease(targets):
    first = run_round(length=0.1)
    Target.objects.update(next_check_at=timezone.now())
    assert run_round(length=0.1).number > first.number


def test_worker_enqueues_its_successor_and_releases_the_lease(targets):
    run_round(length=0.1)
    assert queued() == 1
    assert JobRun.objects.get().status == "waiting"


def test_worker_that_could_not_enqueue_its_successor_enqueues_it_at_the_next_step(targets, monkeypatch):
    failures, steps = iter([OperationalError("gone")]), iter(range(3))

    def enqueue_or_fail(task):
        if error := next(failures, None):
            raise error
        enqueue(task)

    monkeypatch.setattr(worker_rounds, "close_old_connections", lambda: None)  # it holds the test's transaction
    monkeypatch.setattr(worker_rounds, "enqueue", enqueue_or_fail)
    monkeypatch.setattr(worker_rounds, "HAND_OVER_SECONDS", 60.0)
    token = attempts.cluster_is_ending.set(lambda: next(steps, None) is None)
    try:
        run_round(length=60)
    finally:
        attempts.cluster_is_ending.reset(token)
    assert queued() == 1


def test_worker_without_active_targets_enqueues_no_successor(db):
    run_round(length=0.1)
    assert queued() == 0


@pytest.mark.django_db(transaction=True)
def test_round_ends_at_once_when_the_portal_stops(targets):
    token = attempts.cluster_is_ending.set(lambda: True)
    try:
        run_round(length=3600)
    finally:
        attempts.cluster_is_ending.reset(token)
    assert queued() == 0


# --- One watcher -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_only_one_makes_the_round(targets, service, monkeypatch):
    monkeypatch.setattr(worker_rounds, "PATIENCE_SECONDS", 0)
    found = []

    def work():
        found.append(run_round(length=0.5))
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(service.asked) == {f"/{number}": 1 for number in range(5)}
    assert (Round.objects.count(), found.count(None)) == (1, 1)


def test_worker_that_lost_the_lease_claims_nothing(targets, service, run):
    lease = take_lease(0)
    JobRun.objects.update(fence=lease.fence + 1)
    worker_rounds.claim_until(run, lease, length=60)
    assert service.asked == []


@pytest.mark.django_db(transaction=True)
def test_concurrent_claims_share_the_targets(targets, service):
    start = threading.Barrier(2)

    def claim_cycle(number):
        with Prober(threads=20) as prober:
            mine = ActiveRound(number, prober, Connectivity([], was_ever_online=False))
            start.wait()
            mine.claim_due(timezone.now())
            finish(mine)
        connections.close_all()

    threads = [threading.Thread(target=claim_cycle, args=[number]) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(service.asked) == {f"/{number}": 1 for number in range(5)}
    assert CheckResult.objects.count() == 5


def test_target_is_not_claimed_during_its_check(targets, service, run):
    service.gate.clear()
    assert run.claim_due(timezone.now()) == 5
    assert run.claim_due(timezone.now() + timedelta(seconds=60)) == 0
    service.gate.set()
    finish(run)


@pytest.mark.parametrize(("seconds", "is_claimed"), [(-5, True), (0.5, True), (2, False)])
def test_targets_due_within_a_second_are_claimed_ahead(make_target, service, run, seconds, is_claimed):
    now = timezone.now()
    make_target(url=service.url, next_check_at=now + timedelta(seconds=seconds))
    assert run.claim_due(now) == is_claimed
    finish(run)


@pytest.mark.parametrize(
    ("fields", "is_suspect"),
    [({"state": "up"}, False), ({"state": "failing"}, True), ({"state": "down"}, True), ({"attempts": 1}, True)],
)
def test_failing_targets_use_the_threads_of_suspects(make_target, service, run, monkeypatch, fields, is_suspect):
    seen = []
    submit = run.prober.submit

    def noting(key, spec, due, *, is_suspect):
        seen.append(is_suspect)
        submit(key, spec, due, is_suspect=is_suspect)

    monkeypatch.setattr(run.prober, "submit", noting)
    make_target(url=service.url, retries=1, **fields)
    run.claim_due(timezone.now())
    finish(run)
    assert seen == [is_suspect]


def test_claim_of_a_vanished_worker_expires(targets, run):
    long_ago = timezone.now() - active_round.CLAIM_LENGTH
    Target.objects.update(claim="1.1 elsewhere:1:1", claimed_at=long_ago, claimed_until=timezone.now())
    assert run.claim_due(timezone.now()) == 5
    finish(run)


def test_idle_target_is_checked_after_the_clock_was_set_back(targets, run):
    later = timezone.now() + timedelta(hours=1)
    Target.objects.update(last_check_at=later, next_check_at=later + timedelta(minutes=1))
    assert run.claim_due(timezone.now()) == 5
    finish(run)


@pytest.mark.django_db(transaction=True)
def test_claimed_target_is_checked_after_the_clock_was_set_back(targets, run):
    later = timezone.now() + timedelta(hours=1)
    Target.objects.update(
        claim="x",
        claimed_at=later,
        claimed_until=later + active_round.CLAIM_LENGTH,
        next_check_at=later + timedelta(hours=1),
    )
    assert run.claim_due(timezone.now()) == 5
    finish(run)


WATCHER = """
import django, sys
django.setup()
from monitoring.checks import worker_rounds
print("up", flush=True)
worker_rounds.run_round(60)
"""


@pytest.fixture
def watcher(transactional_db):
    """A watcher in a process of its own, against the test's database."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "portal.settings"),
        "CONNECTIVITY_PROBES": "",
        "DATABASE_URL": own_address(),
    }
    process = subprocess.Popen([sys.executable, "-c", WATCHER], stdout=subprocess.PIPE, env=environment)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.django_db(transaction=True)
def test_targets_of_a_killed_worker_are_checked_again_and_open_one_incident(targets, service, watcher, channel):
    Target.objects.update(failures_in_row=1, state="failing")
    service.gate.clear()
    for _ in targets:
        assert service.arrivals.acquire(timeout=60)
    os.kill(watcher.pid, signal.SIGKILL)
    watcher.wait()
    assert Target.objects.exclude(claim="").count() == 5
    service.statuses = {f"/{number}": 500 for number in range(5)}
    service.gate.set()
    run_round(length=0.2)
    assert len(service.asked) == 10
    assert Incident.objects.count() == OutboxMessage.objects.filter(state="opened").count() == 5


def test_incident_resolves_after_a_restart(make_target, service, channel):
    target = make_target(url=f"{service.url}/x", interval=10, failures_to_open=1, successes_to_close=2)
    for status in (500, 500, 200, 200):
        service.statuses["/x"] = status
        Target.objects.update(next_check_at=timezone.now())
        run_round(length=0.1)  # each round is a process of its own as far as it knows
    assert [message.state for message in OutboxMessage.objects.order_by("pk")] == ["opened", "closed"]
    target.refresh_from_db()
    assert target.state == "up"


def test_only_claims_of_dead_processes_are_released(targets):
    holders = {"T0": current_process(), "T1": "elsewhere:1:1", "T2": f"{HOST}:999999999:1"}
    for name, holder in holders.items():
        Target.objects.filter(name=name).update(claim=f"1.1 {holder}")
    assert active_round.release_dead_claims() == 1
    assert list(Target.objects.exclude(claim="").values_list("name", flat=True)) == ["T0", "T1"]


@pytest.mark.parametrize(("is_online", "is_trusted"), [(True, True), (False, False), (None, False)])
def test_outage_is_believed_if_a_recent_round_reached_the_network(targets, is_online, is_trusted):
    Round.objects.create(number=1, started_at=NOON, finished_at=NOON, checks=1, failures=0, is_online=is_online)
    assert active_round.make_connectivity().was_ever_online is is_trusted


def test_outage_is_believed_while_its_incident_is_open(targets):
    Incident.objects.create(subject="portal", rule="offline", opened_at=NOON)
    assert active_round.make_connectivity().was_ever_online
    Incident.objects.update(resolved_at=NOON)
    assert not active_round.make_connectivity().was_ever_online


def test_result_has_the_time_at_which_its_check_started(targets, run):
    run.claim_due(timezone.now())
    while run.prober.in_flight:
        run.unrecorded += [replace(found, started=found.started - 5) for found in run.prober.finished(0.05)]
    before = timezone.now()
    finish(run)
    assert all(result.at < before - timedelta(seconds=5) for result in CheckResult.objects.all())


# --- Trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_results_are_kept_while_the_database_is_gone(targets, run, monkeypatch):
    run.claim_due(timezone.now())

    def gone(batch, now):
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(active_round, "record_checks", gone)
        while run.prober.in_flight:
            run.step(0.05)
    assert not CheckResult.objects.exists()
    finish(run)
    assert CheckResult.objects.count() == 5


def test_bad_result_does_not_block_the_others(targets, run, monkeypatch):
    def refusing(batch, now):
        if any(checked.target.name == "T2" for checked in batch):
            raise TypeError("a fault of ours")
        return record.record_checks(batch, now)

    monkeypatch.setattr(active_round, "record_checks", refusing)
    run.claim_due(timezone.now())
    finish(run)
    assert sorted(CheckResult.objects.values_list("target__name", flat=True)) == ["T0", "T1", "T3", "T4"]


@pytest.mark.django_db(transaction=True)
def test_failing_release_of_the_lease_loses_no_result(targets, monkeypatch):
    def gone(lease):
        raise OperationalError("gone")

    monkeypatch.setattr(Lease, "release", gone)
    assert run_round(length=0.1).checks == 5


def test_target_claimed_by_a_faster_worker_is_left_to_it(targets, run, monkeypatch):
    lock_keys = TargetQuerySet.lock_keys

    def late(queryset):
        found = lock_keys(queryset)
        now = timezone.now()
        Target.objects.filter(name="T0").update(claim="other", claimed_at=now, claimed_until=now + timedelta(hours=1))
        Target.objects.filter(name="T1").update(is_active=False)
        return found

    monkeypatch.setattr(TargetQuerySet, "lock_keys", late)
    assert run.claim_due(timezone.now()) == 3
    finish(run)


def test_failure_waits_for_the_verdict_on_connectivity(make_target, run, monkeypatch):
    target = make_target(url="http://127.0.0.1:9/", retries=0)

    verdicts = [None]
    monkeypatch.setattr(run.connectivity, "may_explain", lambda failed_at: verdicts[-1])
    run.claim_due(timezone.now())
    while run.prober.in_flight:
        assert run.step(0.05) == []
    assert run.step(0) == []
    verdicts.append(True)
    finish(run)
    assert CheckResult.objects.get(target=target).excuse == "offline"


@pytest.mark.django_db(transaction=True)
def test_waiting_failures_outlive_a_missing_database(targets, make_target, run, monkeypatch):
    make_target("Dead", url="http://127.0.0.1:9/", retries=0)
    monkeypatch.setattr(run.connectivity, "may_explain", lambda failed_at: None)
    run.claim_due(timezone.now())

    def gone(batch, now):
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(active_round, "record_checks", gone)
        while run.prober.in_flight:
            run.step(0.05)
    assert len(run.unrecorded) == 6
    monkeypatch.setattr(run.connectivity, "may_explain", lambda failed_at: False)
    finish(run)
    assert CheckResult.objects.count() == 6


def test_answered_failure_is_never_excluded_as_offline(make_target, service, run, monkeypatch):
    service.statuses["/x"] = 500
    make_target(url=f"{service.url}/x", retries=0)
    monkeypatch.setattr(run.connectivity, "may_explain", lambda failed_at: True)
    run.claim_due(timezone.now())
    finish(run)
    assert CheckResult.objects.get().excuse == ""


def test_failure_counts_if_the_verdict_never_comes(make_target, run, monkeypatch):
    monkeypatch.setattr(active_round, "PATIENCE_SECONDS", 0)
    make_target(url="http://127.0.0.1:9/", retries=0)
    monkeypatch.setattr(run.connectivity, "may_explain", lambda failed_at: None)
    run.claim_due(timezone.now())
    finish(run)
    assert CheckResult.objects.get().excuse == ""


# --- The fleet -------------------------------------------------------------------------------------------------------


def closed(run, *found):
    """The round with these results of `(target, outcome)`."""
    for target, outcome in found:
        facts = {"error_kind": outcome.error_kind, "detail": outcome.detail, "latency_ms": outcome.latency_ms}
        run.tally.add(CheckResult(target=target, at=mark().at, **facts))
    return run.close()


def next_round(number):
    return ActiveRound(number, Prober(threads=1), Connectivity([], was_ever_online=False))


def test_fleet_errors_in_two_rounds_alert_with_the_failing_targets(targets, channel):
    bad = ProbeOutcome("status", "500")
    for number in (1, 2):
        closed(next_round(number), (targets[0], good_outcome()), (targets[1], bad), (targets[2], bad))
    incident = Incident.objects.get()
    assert (incident.subject, incident.rule) == ("fleet", "fleet_errors")
    assert "2 of 3 checks failed" in OutboxMessage.objects.get().text
    assert "– T1: The response status was 500\n– T2: The response status was 500\n" in OutboxMessage.objects.get().text
    for number in (3, 4):
        closed(next_round(number), (targets[0], good_outcome()))
    assert [message.state for message in OutboxMessage.objects.order_by("pk")] == ["opened", "closed"]


def test_target_with_its_own_incident_does_not_count_for_the_fleet(targets, channel):
    for target, rule in ((targets[1], "unavailable"), (targets[2], "slow")):
        Incident.objects.create(subject=target.subject, target=target, rule=rule, opened_at=NOON, told_at=NOON)
    for number in (1, 2, 3):
        bad, slow = (targets[1], ProbeOutcome("status", "500")), (targets[2], good_outcome(20_000))
        found = closed(next_round(number), (targets[0], good_outcome()), bad, slow)
    assert (found.checks, found.failures, found.judged_checks, found.judged_failures) == (3, 1, 1, 0)
    assert (found.p95_ms, found.judged_p95_ms) == (20_000, 100)
    assert not OutboxMessage.objects.exists()


def test_fleet_message_names_only_the_counted_failures(targets, channel):
    bad = ProbeOutcome("status", "500")
    Incident.objects.create(
        subject=targets[0].subject, target=targets[0], rule="unavailable", opened_at=NOON, told_at=NOON
    )
    for number in (1, 2):
        found = closed(next_round(number), *[(target, bad) for target in targets[:2]], (targets[2], good_outcome()))
    assert (found.failing, [name for name, *_error in found.judged_failing]) == (["T0", "T1"], ["T1"])
    assert "– T1" in OutboxMessage.objects.get().text
    assert "T0" not in OutboxMessage.objects.get().text


def test_fleet_incident_is_muted_during_maintenance_of_everything(targets, channel):
    now = mark().at
    MaintenanceWindow.objects.create(name="Move", starts_at=now, ends_at=now + timedelta(hours=1))
    for number in (1, 2):
        closed(next_round(number), *[(target, good_outcome(1500)) for target in targets])
    assert Incident.objects.get().told_at is None
    send_reminders(mark())
    assert not OutboxMessage.objects.exists()


def test_slow_answers_under_maintenance_do_not_count_for_the_fleet(targets):
    now = mark().at
    window = MaintenanceWindow.objects.create(name="Move", starts_at=now, ends_at=now + timedelta(hours=1))
    window.targets.add(targets[0])
    found = closed(next_round(1), (targets[0], good_outcome(9000)), (targets[1], good_outcome(100)))
    assert (found.p95_ms, found.judged_p95_ms) == (9000, 100)


def test_fleet_latency_in_two_rounds_alerts(targets, channel):
    for number in (1, 2):
        closed(next_round(number), *[(target, good_outcome(1500)) for target in targets])
    assert Incident.objects.get().rule == "fleet_latency"
    assert "1500 ms" in OutboxMessage.objects.get().text


def test_excluded_failures_are_counted_apart_in_the_round(targets):
    run = next_round(1)
    run.tally.add(CheckResult(target=targets[0], error_kind="connect", excuse="offline", at=mark().at))
    found = run.close()
    assert (found.checks, found.failures, found.excused, found.error_rate) == (0, 0, 1, None)


def test_offline_portal_opens_its_own_incident(targets, channel):
    for number, is_online in enumerate((True, False, False, None, True), start=1):
        run = next_round(number)
        run.connectivity.was_ever_online, run.connectivity.is_online = True, is_online
        closed(run, (targets[0], good_outcome()))
        assert Incident.objects.open().exists() is (number in (2, 3, 4))
    titles = list(OutboxMessage.objects.order_by("pk").values_list("title", flat=True))
    assert titles[0] == "The portal is offline"
    assert titles[1].startswith("The portal is online again after")


@pytest.fixture
def reached(run):
    """The round's portal reaches the network; `resolves` says whether its resolver works."""

    def reaching(run, *, resolves):
        run.connectivity = Connectivity([("127.0.0.1", 9)], was_ever_online=True)
        run.connectivity.is_online, run.connectivity.resolves = True, resolves
        run.connectivity.answered_at = float("inf")
        return run

    return reaching


def dns_failure(run, target, detail):
    run.in_flight[target.pk, ""] = target
    return FinishedProbe((target.pk, ""), ProbeOutcome("dns", detail), due=0.0, started=0.0, ended=0.0)


@pytest.mark.parametrize(
    ("resolves", "detail", "is_ours"),
    [(False, "EAI_AGAIN", True), (False, "timeout", True), (False, "EAI_NONAME", False), (True, "EAI_AGAIN", False)],
)
def test_failed_lookup_counts_unless_the_resolver_fails_every_name(targets, reached, resolves, detail, is_ours):
    run = reached(next_round(1), resolves=resolves)
    assert run.is_our_failure(dns_failure(run, targets[0], detail)) is is_ours
    assert run.lookups_fail is is_ours


def test_dead_resolver_is_one_incident_until_it_answers(targets, reached, channel):
    for number, fails, resolves in ((1, True, False), (2, True, False), (3, False, False), (4, False, True)):
        run = reached(next_round(number), resolves=resolves)
        if fails:
            run.is_our_failure(dns_failure(run, targets[0], "EAI_AGAIN"))
        assert closed(run, (targets[1], good_outcome())).is_online is not fails
        assert Incident.objects.open().exists() is (number < 4)
    assert Incident.objects.get().rule == "offline"
    titles = list(OutboxMessage.objects.order_by("pk").values_list("title", flat=True))
    assert len(titles) == 2


@pytest.mark.parametrize(("probes", "is_active", "left"), [
    ([("127.0.0.1", 9)], True, ["fleet", "portal"]), ([], True, ["fleet"]), ([("127.0.0.1", 9)], False, ["portal"]),
])  # fmt: skip
def test_incidents_that_no_round_decides_are_withdrawn(targets, settings, probes, is_active, left):
    settings.CONNECTIVITY_PROBES = probes
    Target.objects.update(is_active=is_active)
    for subject in ("fleet", "portal"):
        Incident.objects.create(subject=subject, rule="offline", opened_at=NOON)
    ensure_rounds(None)
    assert sorted(Incident.objects.open().values_list("subject", flat=True)) == left
    assert Incident.objects.exclude(resolved_at=None).filter(is_withdrawn=False).count() == 0


def test_scheduled_job_sends_reminders(targets, settings, channel):
    now = timezone.now() - timedelta(days=1)
    Incident.objects.create(subject="target:1", target=targets[0], rule="slow", opened_at=now, told_at=now)
    lease = claim_cycle("monitoring.reminders", "x")
    assert schedules.send_reminders(lease) == {"told": 1}


# --- The pulse, the schedule, retention ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_pulse_enqueues_a_watcher_after_the_clock_was_set_back(targets):
    Heartbeat.objects.beat(worker_rounds.HEARTBEAT, "here")
    Heartbeat.objects.update(at=timezone.now() + timedelta(hours=1), asked_at=timezone.now() + timedelta(hours=1))
    ensure_watched(timezone.now())
    assert queued() == 1


@pytest.mark.django_db(transaction=True)
def test_pulse_enqueues_one_watcher_if_nobody_watches(targets):
    ensure_watched(timezone.now())
    ensure_watched(timezone.now())
    assert queued() == 1


def test_pulse_enqueues_nothing_while_a_worker_watches(targets):
    lease = take_lease(0)
    ensure_watched(timezone.now())
    assert queued() == 0
    lease.release()
    ensure_watched(timezone.now())
    assert queued() == 0
    ensure_watched(timezone.now() + timedelta(seconds=2 * worker_rounds.HAND_OVER_SECONDS))
    assert queued() == 1


@pytest.mark.django_db(transaction=True)
def test_dead_watcher_is_replaced_despite_a_task_left_in_the_queue(targets, silent_node):
    """Its lease has yet to run out, and its task is claimed in the queue for minutes to come."""
    ensure_watched(timezone.now())
    OrmQ.objects.update(lock=timezone.now() + timedelta(minutes=3))
    take_lease(0)
    JobRun.objects.update(holder="another-host/12345678:7:1")
    Heartbeat.objects.update(asked_at=timezone.now() - timedelta(seconds=20))
    ensure_watched(timezone.now())
    assert queued() == 1
    silent_node(timedelta(seconds=11))
    ensure_watched(timezone.now())
    ensure_watched(timezone.now())
    assert queued() == 2
    assert take_lease(0) is not None


def test_pulse_enqueues_nothing_without_active_targets(targets):
    Target.objects.update(is_active=False)
    ensure_watched(timezone.now())
    assert queued() == 0


@pytest.mark.django_db(transaction=True)
def test_worker_runs_the_enqueued_round(targets, service, monkeypatch):
    monkeypatch.setattr(worker_rounds, "LENGTH_SECONDS", 0.1)
    ensure_watched(timezone.now())
    deliver()
    assert CheckResult.objects.count() == 5
    assert TASK == "monitoring.round"


def test_checks_rounds_and_minute_rollups_are_deleted_after_their_retention(targets, settings):
    settings.CHECK_RETENTION_DAYS, settings.MINUTE_ROLLUP_RETENTION_DAYS = 7, 30
    now = NOON + timedelta(days=60)
    for days in (6, 8, 29, 31):
        at = now - timedelta(days=days)
        CheckResult.objects.create(target=targets[0], at=at, latency_ms=1)
        Round.objects.create(number=days, started_at=at, finished_at=at, checks=1, failures=0)
        for period in ("minute", "hour"):
            targets[0].rollups.create(period=period, start=at, checks=1, failures=0)
    assert outdated_checks(now).count() == 3
    assert outdated_rounds(now).count() == 3
    assert [(found.period, (now - found.start).days) for found in outdated_minutes(now)] == [("minute", 31)]
