"""Scans as a whole: through the queue, by the schedule, by hand."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from backups import cycles, schedules
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan
from backups.scanner import orchestration, reverify
from backups.tests.conftest import AGENT, DATABASE, dump
from portal.models import JobRun, OutboxMessage, TaskAttempt
from portal.tests.helpers.workers import deliver
from portal.work.jobs import claim_cycle
from portal.work.processes import HOST, current_process
from portal.work.queue import enqueue

pytestmark = pytest.mark.django_db


@pytest.fixture
def due(make_job, machine):
    """A job whose backup arrived within its cycle, which is the present one."""

    def make(agent_id=AGENT, deposited=True):
        now = timezone.now()
        soon = now - timedelta(minutes=2)
        job = make_job(
            agent_id=agent_id, city=agent_id, expected_hour_utc=soon.hour, expected_minute_utc=soon.minute,
            watched_since=now - timedelta(hours=1), created_at=now - timedelta(hours=1),
        )  # fmt: skip
        if deposited:
            type(machine)(machine.root, agent_id).deposit(moment=now - timedelta(minutes=1))
        return job

    return make


def deliver_all():
    """The number of tasks the slow cluster was given."""
    total = 0
    while delivered := deliver("slow"):
        total += delivered
    return total


def test_the_schedule_has_the_workers_look_at_each_machine(due):
    due(), due("SRV-2")
    begun = orchestration.look_around()
    assert OrmQ.objects.count() == 2
    assert deliver_all() == 2
    begun.refresh_from_db()
    assert begun.finished_at is not None
    assert (begun.agents, begun.agents_done, begun.jobs, begun.recorded, begun.promoted) == (2, 2, 2, 2, 2)
    assert (begun.files_read, begun.bytes_hashed, begun.errors) == (2, 2 * len(dump()), 0)
    assert {*BackupEntry.objects.values_list("status", flat=True)} == {"SUCCESS"}
    assert not TaskAttempt.objects.exclude(error="").exists()


def test_machines_with_nothing_to_find_out_cost_no_task(due):
    due()
    orchestration.look_around()
    deliver_all()
    job = ExpectedBackupJob.objects.get()
    idle = orchestration.look_around()
    assert OrmQ.objects.count() == 0
    idle.refresh_from_db()
    assert (idle.agents, idle.jobs, idle.settled) == (0, 1, 1)
    assert idle.finished_at is not None
    assert ExpectedBackupJob.objects.get().last_checked_at > job.last_checked_at


def test_the_schedule_queues_no_machine_that_is_queued_already(due):
    due(deposited=False)
    orchestration.look_around()
    orchestration.look_around()
    assert OrmQ.objects.count() == 1


def test_machine_whose_scan_ended_in_an_outage_is_queued_by_the_next(due, monkeypatch, settings):
    """Nothing but the end of the task is on record, and its row stays claimed in the queue for two hours."""
    due()
    lost = orchestration.look_around()

    def away(*args, **kwargs):
        raise OperationalError("away")

    with monkeypatch.context() as outage:
        outage.setattr(orchestration, "scan_machine", away)
        outage.setattr(type(Scan.objects.all()), "add", away)
        deliver("slow")
    row = queue_row(lost, settings)
    orchestration.look_around()
    assert OrmQ.objects.exclude(pk=row.pk).count() == 1
    deliver_all()
    assert BackupEntry.objects.get().status == "SUCCESS"
    assert DepositArea.objects.get().queued_at is None


def queue_row(scan, settings):
    """The row of the task that ended, as it stays where nobody could take it away."""
    attempt = TaskAttempt.objects.get()
    package = {"id": attempt.task_id, "func": "portal.tasks.run", "args": (orchestration.TASK, AGENT, scan.pk)}
    lock = timezone.now() + timedelta(hours=2)
    return OrmQ.objects.create(key="slow", payload=SignedPackage.dumps(package), lock=lock)


@pytest.mark.parametrize("holder", [f"{HOST}:4194305:1", "another-host/12345678:7:1"])
def test_scan_of_a_dead_process_is_taken_over_at_once(due, silent_node, holder):
    due()
    area = DepositArea.objects.of([AGENT])[AGENT]
    claim_cycle(orchestration.LEASE_NAME, orchestration.lease_key(area))
    JobRun.objects.update(holder=holder)
    silent_node()
    orchestration.look_around()
    deliver_all()
    assert BackupEntry.objects.get().status == "SUCCESS"


def test_scan_runs_while_its_tasks_or_its_process_do(due):
    due()
    queued = orchestration.look_around()
    command = Scan.objects.create(source="command", at=timezone.now(), holder=current_process())
    assert orchestration.ongoing([queued, command], timezone.now()) == [queued]
    area = DepositArea.objects.of([AGENT])[AGENT]
    lease = claim_cycle(orchestration.LEASE_NAME, orchestration.lease_key(area))
    assert orchestration.ongoing([queued, command], timezone.now()) == [queued, command]
    JobRun.objects.update(holder=f"{HOST}:4194305:1")
    Scan.objects.filter(pk=command.pk).update(holder=f"{HOST}:4194305:1")
    command.refresh_from_db()
    assert orchestration.ongoing([queued, command], timezone.now()) == [queued]
    lease.release()
    deliver_all()
    queued.refresh_from_db()
    assert orchestration.ongoing([queued, command], timezone.now()) == []


def test_scan_that_was_killed_is_ended_by_the_schedule(due):
    due()
    long_ago = timezone.now() - timedelta(minutes=6)
    killed = Scan.objects.create(source="command", at=long_ago, started_at=long_ago, agents=3, agents_done=1)
    orchestration.look_around()
    killed.refresh_from_db()
    assert (killed.finished_at is not None, killed.errors) == (True, 2)


def test_machine_that_needs_no_look_any_more_is_not_waited_for(due):
    due()
    orchestration.look_around()
    assert DepositArea.objects.get().queued_at is not None
    ExpectedBackupJob.objects.update(is_active=False)
    orchestration.look_around()
    assert DepositArea.objects.get().queued_at is None


def test_scans_of_the_schedule_do_not_pile_up_behind_a_long_one(due):
    due()
    area = DepositArea.objects.of([AGENT])[AGENT]
    other = claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    for _ in range(3):
        orchestration.look_around()
        deliver_all()
    assert (OrmQ.objects.count(), Scan.objects.filter(finished_at=None).count()) == (0, 0)
    other.release()


def test_two_scans_at_once_tell_once_that_the_root_is_missing(settings, due, channel):
    due()
    orchestration.scan_now(timezone.now())
    before = Scan.objects.get().pk
    settings.DEPOSITS_ROOT = settings.DEPOSITS_ROOT / "gone"
    orchestration.look_around()
    Scan.objects.exclude(pk=before).delete()
    orchestration.look_around()
    assert OutboxMessage.objects.filter(title="The deposit area is not there").count() == 1


def test_a_scan_asked_for_by_hand_is_never_skipped(due):
    due(deposited=False)
    orchestration.look_around()
    asked = orchestration.ask(Scan.Source.API)
    assert OrmQ.objects.count() == 2
    assert deliver_all() == 2
    asked.refresh_from_db()
    assert (asked.source, asked.agents_done, asked.pending) == ("api", 1, 1)


def test_one_machine_can_be_asked_for(due):
    due(), due("SRV-2")
    orchestration.ask(Scan.Source.ADMIN, "SRV-2")
    deliver_all()
    assert [entry.job.agent_id for entry in BackupEntry.objects.all()] == ["SRV-2"]


def test_a_scan_waits_for_whoever_is_at_the_machine(due, monkeypatch):
    due()
    area = DepositArea.objects.of([AGENT])[AGENT]
    other = claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    waits = []

    def waiting(seconds):
        waits.append(seconds)
        other.release()

    monkeypatch.setattr(orchestration.time, "sleep", waiting)
    orchestration.scan_one(area, Scan.objects.create(source="command", at=timezone.now()).pk, timezone.now())
    assert len(waits) == 1
    assert BackupEntry.objects.get().status == "SUCCESS"


@pytest.mark.parametrize("name", ["scan", "reverify"])
def test_a_task_that_meets_somebody_at_the_machine_comes_again_later(due, monkeypatch, name):
    job = due()
    area = DepositArea.objects.of([AGENT])[AGENT]
    other = claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    monkeypatch.setattr(orchestration, "TASK_PATIENCE", timedelta(0))
    monkeypatch.setattr(orchestration, "WAIT_SECONDS", 0)
    if name == "scan":
        asked = orchestration.ask(Scan.Source.API)
    else:
        enqueue("backups.reverify", job.pk, cluster="slow")
    assert [deliver("slow"), OrmQ.objects.count()] == [1, 1]
    other.release()
    assert [deliver("slow"), OrmQ.objects.count()] == [1, 0]
    if name == "scan":
        asked.refresh_from_db()
        assert (asked.agents_done, asked.promoted, asked.errors) == (1, 1, 0)


def test_whoever_was_overtaken_writes_nothing(due, monkeypatch):
    due()
    area = DepositArea.objects.of([AGENT])[AGENT]
    real = orchestration.scan_machine

    def overtaken(area, lease, now):
        JobRun.objects.filter(pk=lease.pk).update(fence=lease.fence + 1)
        return real(area, lease, now)

    monkeypatch.setattr(orchestration, "scan_machine", overtaken)
    assert orchestration.scan_one(area, 0, timezone.now()).errors == 1
    assert BackupEntry.objects.count() == 0


def test_a_scan_that_was_killed_leaves_the_machine_to_the_next(due):
    due()
    area = DepositArea.objects.of([AGENT])[AGENT]
    claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    JobRun.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    orchestration.scan_one(area, 0, timezone.now())
    assert BackupEntry.objects.get().status == "SUCCESS"


def test_a_long_measure_keeps_its_lease(due, monkeypatch):
    due()
    monkeypatch.setattr("backups.scanner.scan.KEEP_ALIVE_SECONDS", 0)
    extended = []
    monkeypatch.setattr("portal.work.jobs.Lease.extend", lambda self: extended.append(self))
    orchestration.scan_now(timezone.now())
    assert len(extended) >= 4  # while reading and measuring, when recording, when noting where it is stored


def test_the_periodic_scan_runs_every_quarter_of_an_hour(due):
    (job,) = [one for one in schedules.jobs.all() if one.name == "backups.scan"]
    assert job.every == timedelta(minutes=15)
    lease = claim_cycle(job.name, "now")
    assert job.body(lease) == {"scan": Scan.objects.get().pk}


def test_old_scans_are_forgotten():
    now = timezone.now()
    Scan.objects.create(source="api", at=now, started_at=now - timedelta(days=31))
    Scan.objects.create(source="api", at=now)
    assert schedules.outdated_scans(now).count() == 1


# --- The current version, hashed again -------------------------------------------------------------------------------


@pytest.fixture
def stored(due, settings):
    job = due()
    orchestration.scan_now(timezone.now())
    path = settings.VALIDATED_ROOT / "ACME" / AGENT / DATABASE / "current_version" / f"{DATABASE}.sql.gz"
    assert path.exists()
    return job, path


def look_again(job):
    reverify.reverify(job.pk)
    job.refresh_from_db()
    return job.damage


def test_a_current_version_as_it_was_verified_is_well(stored):
    job, _path = stored
    assert look_again(job) is None
    assert job.reverified_at is not None


@pytest.mark.parametrize(
    ("how", "code"), [("changed", "current_differs"), ("gone", "current_absent"), ("a link", "current_unreadable")]
)
def test_a_damaged_current_version_is_noted_and_told(stored, channel, tmp_path, how, code):
    job, path = stored
    content = path.read_bytes()
    path.unlink()
    if how == "changed":
        path.write_bytes(content[:-1] + b"x")
    elif how == "a link":
        (tmp_path / "x").write_bytes(content)
        path.symlink_to(tmp_path / "x")
    assert look_again(job)["code"] == code
    look_again(job)
    (message,) = OutboxMessage.objects.all()
    assert message.title == f"The stored backup of {DATABASE} ({AGENT}), ACME, {AGENT} is damaged"


def test_a_new_version_ends_the_damage(stored, machine, scan):
    job, path = stored
    path.unlink()
    look_again(job)
    tomorrow = cycles.upcoming(job.plan, timezone.now())
    machine.deposit(dump("-- new\n"), tomorrow + timedelta(minutes=1))
    scan(tomorrow + timedelta(minutes=5))
    job.refresh_from_db()
    assert (job.damage, path.read_bytes()) == (None, dump("-- new\n"))


def test_a_job_that_is_gone_or_has_nothing_stored_is_left_alone(due):
    reverify.reverify(0)
    assert look_again(due(deposited=False)) is None
