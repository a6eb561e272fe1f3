"""Scans as a whole: queued, periodic and by command, and their leases."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from backups import cycles, schedules
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan
from backups.scanner import orchestration, reverify
from backups.tests.factories import AGENT, DATABASE, dump
from portal.models import JobRun, OutboxMessage, TaskAttempt
from portal.tests.helpers.workers import deliver
from portal.work import jobs
from portal.work.jobs import claim_cycle
from portal.work.processes import HOST, current_process
from portal.work.queue import enqueue

pytestmark = pytest.mark.django_db


@pytest.fixture
def due(make_job, machine):
    """Return a function that creates a job whose backup arrived in the current cycle."""

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
    """Return the number of tasks of the slow cluster."""
    total = 0
    while delivered := deliver("slow"):
        total += delivered
    return total


def test_periodic_scan_queues_a_task_per_machine(due):
    due(), due("SRV-2")
    begun = orchestration.queue_periodic_scan()
    assert OrmQ.objects.count() == 2
    assert deliver_all() == 2
    begun.refresh_from_db()
    assert begun.finished_at is not None
    assert (begun.agents, begun.agents_done, begun.jobs, begun.recorded, begun.promoted) == (2, 2, 2, 2, 2)
    assert (begun.files_read, begun.bytes_hashed, begun.errors) == (2, 2 * len(dump()), 0)
    assert {*BackupEntry.objects.values_list("status", flat=True)} == {"SUCCESS"}
    assert not TaskAttempt.objects.exclude(error="").exists()


def test_uploaded_report_has_its_machine_scanned_at_once_and_only_once(due, make_job, put):
    due(), make_job(agent_id="SRV-2")
    name = "OPERATION_20250612_1300_PC-1.json"
    put()
    assert OrmQ.objects.count() == 0  # a dump alone says nothing
    put(name, area="log")
    assert OrmQ.objects.count() == 0  # nothing is expected of this machine
    make_job(agent_id="pc-1")
    assert [put(name, area="log").status_code for _ in range(3)] == [201] * 3
    assert OrmQ.objects.count() == 1
    assert Scan.objects.get().agent_id == "PC-1"
    deliver_all()
    assert ExpectedBackupJob.objects.get(agent_id="pc-1").last_checked_at is not None
    put(name, area="log")
    assert OrmQ.objects.count() == 1


def test_report_uploaded_during_its_machines_scan_has_it_scanned_once_more(due, put, monkeypatch):
    due(agent_id="PC-1", deposited=False)
    name, real, reads = "OPERATION_20250612_1300_PC-1.json", orchestration.scan_machine, []

    def scanning(area, lease, now):
        reads.append(now)
        if len(reads) == 1:
            put(name, area="log"), put(name, area="log")
        return real(area, lease, now)

    monkeypatch.setattr(orchestration, "scan_machine", scanning)
    put(name, area="log")
    assert (deliver_all(), len(reads)) == (2, 2)
    assert DepositArea.objects.get().queued_at is None


def test_report_is_not_left_to_a_periodic_scan_that_gave_up_on_a_busy_machine(due, put):
    due(agent_id="PC-1", deposited=False)
    area = DepositArea.objects.get_or_create_for(["PC-1"])["PC-1"]
    claim_cycle(orchestration.LEASE_NAME, orchestration.lease_key(area))
    orchestration.queue_periodic_scan()
    deliver_all()
    put("OPERATION_20250612_1300_PC-1.json", area="log")
    assert Scan.objects.filter(source=Scan.Source.API).count() == OrmQ.objects.count() == 1


def test_stored_report_is_acknowledged_although_its_scan_cannot_be_queued(due, put, monkeypatch, caplog):
    due(agent_id="PC-1", deposited=False)

    def away(*args):
        raise OperationalError("away")

    monkeypatch.setattr(orchestration, "request_scan", away)
    assert put("OPERATION_20250612_1300_PC-1.json", area="log").status_code == 201
    assert "the scan of PC-1 could not be queued" in caplog.text


def test_settled_machines_get_no_task(due):
    due()
    orchestration.queue_periodic_scan()
    deliver_all()
    job = ExpectedBackupJob.objects.get()
    idle = orchestration.queue_periodic_scan()
    assert OrmQ.objects.count() == 0
    idle.refresh_from_db()
    assert (idle.agents, idle.jobs, idle.settled) == (0, 1, 1)
    assert idle.finished_at is not None
    assert ExpectedBackupJob.objects.get().last_checked_at > job.last_checked_at


def test_periodic_scan_skips_queued_machines(due):
    due(deposited=False)
    orchestration.queue_periodic_scan()
    orchestration.queue_periodic_scan()
    assert OrmQ.objects.count() == 1


def test_machine_of_a_failed_scan_is_queued_again(due, monkeypatch, settings):
    """Only the end of the task is recorded, and its row stays claimed in the queue for two hours."""
    due()
    lost = orchestration.queue_periodic_scan()

    def away(*args, **kwargs):
        raise OperationalError("away")

    with monkeypatch.context() as outage:
        outage.setattr(orchestration, "scan_machine", away)
        outage.setattr(type(Scan.objects.all()), "add_counts", away)
        deliver("slow")
    row = queue_row(lost, settings)
    orchestration.queue_periodic_scan()
    assert OrmQ.objects.exclude(pk=row.pk).count() == 1
    deliver_all()
    assert BackupEntry.objects.get().status == "SUCCESS"
    assert DepositArea.objects.get().queued_at is None


def queue_row(scan, settings):
    """Keep the queue row of an ended task, as after an outage."""
    attempt = TaskAttempt.objects.get()
    package = {"id": attempt.task_id, "func": "portal.tasks.run", "args": (orchestration.TASK, AGENT, scan.pk)}
    lock = timezone.now() + timedelta(hours=2)
    return OrmQ.objects.create(key="slow", payload=SignedPackage.dumps(package), lock=lock)


@pytest.mark.parametrize("holder", [f"{HOST}:4194305:1", "another-host/12345678:7:1"])
def test_lease_of_a_dead_process_is_taken_over_at_once(due, silent_node, holder):
    due()
    area = DepositArea.objects.get_or_create_for([AGENT])[AGENT]
    claim_cycle(orchestration.LEASE_NAME, orchestration.lease_key(area))
    JobRun.objects.update(holder=holder)
    silent_node()
    orchestration.queue_periodic_scan()
    deliver_all()
    assert BackupEntry.objects.get().status == "SUCCESS"


def test_scan_is_ongoing_while_its_tasks_or_process_are(due):
    due()
    queued = orchestration.queue_periodic_scan()
    command = Scan.objects.create(source="command", at=timezone.now(), holder=current_process())
    assert orchestration.find_ongoing([queued, command], timezone.now()) == [queued]
    area = DepositArea.objects.get_or_create_for([AGENT])[AGENT]
    lease = claim_cycle(orchestration.LEASE_NAME, orchestration.lease_key(area))
    assert orchestration.find_ongoing([queued, command], timezone.now()) == [queued, command]
    JobRun.objects.update(holder=f"{HOST}:4194305:1")
    Scan.objects.filter(pk=command.pk).update(holder=f"{HOST}:4194305:1")
    command.refresh_from_db()
    assert orchestration.find_ongoing([queued, command], timezone.now()) == [queued]
    lease.release()
    deliver_all()
    queued.refresh_from_db()
    assert orchestration.find_ongoing([queued, command], timezone.now()) == []


def test_killed_scan_is_finished_by_the_next_periodic_one(due):
    due()
    long_ago = timezone.now() - timedelta(minutes=6)
    killed = Scan.objects.create(source="command", at=long_ago, started_at=long_ago, agents=3, agents_done=1)
    orchestration.queue_periodic_scan()
    killed.refresh_from_db()
    assert (killed.finished_at is not None, killed.errors) == (True, 2)


def test_settled_machine_is_no_longer_waited_for(due):
    due()
    orchestration.queue_periodic_scan()
    assert DepositArea.objects.get().queued_at is not None
    ExpectedBackupJob.objects.update(is_active=False)
    orchestration.queue_periodic_scan()
    assert DepositArea.objects.get().queued_at is None


def test_periodic_scans_do_not_pile_up_behind_a_long_one(due):
    due()
    area = DepositArea.objects.get_or_create_for([AGENT])[AGENT]
    other = claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    for _ in range(3):
        orchestration.queue_periodic_scan()
        deliver_all()
    assert (OrmQ.objects.count(), Scan.objects.filter(finished_at=None).count()) == (0, 0)
    other.release()


def test_simultaneous_scans_send_one_notice_of_a_missing_root(settings, due, channel):
    due()
    orchestration.scan_now(timezone.now())
    before = Scan.objects.get().pk
    settings.DEPOSITS_ROOT = settings.DEPOSITS_ROOT / "gone"
    orchestration.queue_periodic_scan()
    Scan.objects.exclude(pk=before).delete()
    orchestration.queue_periodic_scan()
    assert OutboxMessage.objects.filter(title="Upload area unavailable").count() == 1


def test_requested_scan_is_never_skipped(due):
    due(deposited=False)
    orchestration.queue_periodic_scan()
    asked = orchestration.request_scan(Scan.Source.API)
    assert OrmQ.objects.count() == 2
    assert deliver_all() == 2
    asked.refresh_from_db()
    assert (asked.source, asked.agents_done, asked.pending) == ("api", 1, 1)


def test_scan_of_one_machine_can_be_requested(due):
    due(), due("SRV-2")
    orchestration.request_scan(Scan.Source.ADMIN, "SRV-2")
    deliver_all()
    assert [entry.job.agent_id for entry in BackupEntry.objects.all()] == ["SRV-2"]


def test_scan_waits_for_the_lease(due, monkeypatch):
    due()
    area = DepositArea.objects.get_or_create_for([AGENT])[AGENT]
    other = claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    waits = []

    def waiting(seconds):
        waits.append(seconds)
        other.release()

    monkeypatch.setattr(jobs.time, "sleep", waiting)
    orchestration.scan_with_lease(area, Scan.objects.create(source="command", at=timezone.now()).pk, timezone.now())
    assert len(waits) == 1
    assert BackupEntry.objects.get().status == "SUCCESS"


@pytest.mark.parametrize("name", ["scan", "reverify"])
def test_task_without_the_lease_is_requeued(due, monkeypatch, name):
    job = due()
    area = DepositArea.objects.get_or_create_for([AGENT])[AGENT]
    other = claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    monkeypatch.setattr(orchestration, "TASK_PATIENCE", timedelta(0))
    monkeypatch.setattr(jobs, "WAIT_SECONDS", 0)
    if name == "scan":
        asked = orchestration.request_scan(Scan.Source.API)
    else:
        enqueue("backups.reverify", job.pk, cluster="slow")
    assert [deliver("slow"), OrmQ.objects.count()] == [1, 1]
    other.release()
    assert [deliver("slow"), OrmQ.objects.count()] == [1, 0]
    if name == "scan":
        asked.refresh_from_db()
        assert (asked.agents_done, asked.promoted, asked.errors) == (1, 1, 0)


def test_scan_that_lost_its_lease_writes_nothing(due, monkeypatch):
    due()
    area = DepositArea.objects.get_or_create_for([AGENT])[AGENT]
    real = orchestration.scan_machine

    def overtaken(area, lease, now):
        JobRun.objects.filter(pk=lease.pk).update(fence=lease.fence + 1)
        return real(area, lease, now)

    monkeypatch.setattr(orchestration, "scan_machine", overtaken)
    assert orchestration.scan_with_lease(area, 0, timezone.now()).errors == 1
    assert BackupEntry.objects.count() == 0


def test_killed_scan_leaves_the_machine_to_the_next(due):
    due()
    area = DepositArea.objects.get_or_create_for([AGENT])[AGENT]
    claim_cycle(orchestration.LEASE_NAME, f"area {area.pk}")
    JobRun.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    orchestration.scan_with_lease(area, 0, timezone.now())
    assert BackupEntry.objects.get().status == "SUCCESS"


def test_long_measure_extends_its_lease(due, monkeypatch):
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


def test_old_scans_are_deleted():
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
    reverify.reverify_job(job.pk)
    job.refresh_from_db()
    return job.damage


def test_intact_current_version_has_no_damage(stored):
    job, _path = stored
    assert look_again(job) is None
    assert job.reverified_at is not None


@pytest.mark.parametrize(
    ("how", "code"), [("changed", "current_differs"), ("gone", "current_absent"), ("a link", "current_unreadable")]
)
def test_damaged_current_version_is_recorded_and_notified(stored, channel, tmp_path, how, code):
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
    assert message.title == f"Stored backup of {DATABASE} ({AGENT}), ACME, {AGENT} corrupted"


def test_damage_is_of_its_first_sight_until_it_has_gone(stored):
    job, path = stored
    content = path.read_bytes()
    path.unlink()
    look_again(job)
    since = job.damaged_since
    look_again(job)
    assert job.damaged_since == since < job.reverified_at
    path.write_bytes(content)
    look_again(job)
    assert (job.damage, job.damaged_since) == (None, None)


def test_new_version_ends_the_damage(stored, machine, scan):
    job, path = stored
    path.unlink()
    look_again(job)
    tomorrow = cycles.next_expected_time(job.timetable, timezone.now())
    machine.deposit(dump("-- new\n"), tomorrow + timedelta(minutes=1))
    scan(tomorrow + timedelta(minutes=5))
    job.refresh_from_db()
    assert (job.damage, job.damaged_since, path.read_bytes()) == (None, None, dump("-- new\n"))


def test_deleted_or_unstored_job_is_not_reverified(due):
    reverify.reverify_job(0)
    assert look_again(due(deposited=False)) is None
