"""Requested drills: each press of *Restore now* leads to one drill, whatever else runs or ends meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from django_q.models import OrmQ

from backups import findings
from backups.admin.display import describe_sandbox
from backups.drills import children, proofs, runs
from backups.drills.outcomes import SandboxUnavailable
from backups.drills.tests.dumps import raising
from backups.models import DrillSandbox, ExpectedBackupJob, RestoreDrill
from portal.models import JobRun
from portal.work.jobs import LeaseLost


def test_requests_that_no_worker_has_taken_share_a_task(make_stored_job, django_capture_on_commit_callbacks) -> None:
    job = make_stored_job("a")

    def press():
        with django_capture_on_commit_callbacks(execute=True):
            runs.request_drills([job])
            queued = OrmQ.objects.count()
        return OrmQ.objects.count() - queued

    assert (press(), press()) == (1, 0)
    OrmQ.objects.update(lock=timezone.now() + timedelta(hours=1))  # a worker takes it
    assert press() == 1


def test_request_during_a_drill_is_kept(make_stored_job, meanwhile) -> None:
    job = make_stored_job("a")
    meanwhile(lambda: runs.request_drills([job]))

    assert runs.run_due() == 2


@pytest.mark.parametrize("error", [SandboxUnavailable("postgresql", "refused"), RuntimeError()], ids=type)
def test_request_during_an_attempt_that_fails_is_kept(make_stored_job, monkeypatch, meanwhile, error) -> None:
    job = make_stored_job("a")
    monkeypatch.setattr(children, "restore_dump", raising(error))
    meanwhile(lambda: runs.request_drills([job]))

    assert (runs.run_due(), runs.run_due()) == (2, 0)
    job.refresh_from_db()
    assert job.drill_requested_at is None


@pytest.mark.parametrize("error", [SandboxUnavailable("postgresql", "refused"), RuntimeError()], ids=type)
def test_attempt_whose_lease_was_taken_over_writes_nothing(make_stored_job, monkeypatch, meanwhile, error) -> None:
    job = make_stored_job("a")
    runs.request_drills([job])
    monkeypatch.setattr(children, "restore_dump", raising(error))
    meanwhile(lambda: JobRun.objects.filter(job=runs.LEASE).update(fence=99))

    with pytest.raises(LeaseLost):
        runs.run_due()

    planned = job.next_drill_at
    job.refresh_from_db()
    assert (job.next_drill_at, job.drill_requested_at is None, job.unavailable_sandbox) == (planned, False, None)
    assert (RestoreDrill.objects.count(), DrillSandbox.objects.count()) == (1, 0)


def test_drill_whose_lease_was_taken_over_does_not_begin(make_stored_job, monkeypatch) -> None:
    jobs = [make_stored_job("a"), make_stored_job("b")]
    RestoreDrill.objects.create(job=jobs[1], entry=jobs[1].entries.get())  # of whoever took it over
    with runs.exclusive_run() as run:
        JobRun.objects.filter(job=runs.LEASE).update(fence=99)
        with pytest.raises(LeaseLost):
            runs.drill_job(jobs[0], run)

    assert [drill.job for drill in RestoreDrill.objects.all()] == [jobs[1]]


def test_request_while_the_private_server_stops_is_drilled_at_once(make_stored_job, monkeypatch) -> None:
    job = make_stored_job("a")
    drilled: list[int] = []
    close = children.PrivateServer.close

    def closing(server: children.PrivateServer) -> None:
        close(server)
        if not drilled:
            drilled.append(0)
            runs.request_drills([job])
            drilled.append(runs.run_due())

    monkeypatch.setattr(children.PrivateServer, "close", closing)

    assert (runs.run_due(), drilled) == (1, [0, 1])


def test_low_disk_at_the_start_is_one_finding_whatever_the_engine(make_stored_job, settings) -> None:
    settings.DISK_RESERVE_MIB = 1_000_000_000
    job = make_stored_job("a")
    make_stored_job("b", agent_id="SRV-2")
    why = "There is too little free space for restore drills (DISK_RESERVE_MIB)."

    assert runs.run_due() == 2

    (finding,) = findings.unavailable_sandboxes(timezone.now())
    assert str(finding.text) == f"No restore drills. {why}"
    job.refresh_from_db()
    shown = describe_sandbox(job)
    assert shown.startswith("No drill has run since ")
    assert shown.endswith(f". {why} Free some space: it is tried again every hour.")
    with pytest.raises(CommandError) as error:
        call_command("drill")
    assert str(error.value) == why


# --- What other writers own ------------------------------------------------------------------------------------------


def test_proofs_are_written_without_what_the_next_drill_needs(make_stored_job, monkeypatch) -> None:
    job = make_stored_job("a")
    runs.run_due()
    sandbox = DrillSandbox.objects.create(engine="mysql")
    requested = timezone.now()

    def press(job, *_rest):
        changes = {"drill_requested_at": requested, "unavailable_sandbox": sandbox, "next_drill_at": requested}
        ExpectedBackupJob.objects.filter(pk=job.pk).update(**changes)

    for name in ("record_proof", "record_loss"):
        record = getattr(proofs, name)
        monkeypatch.setattr(proofs, name, lambda *given, record=record: [press(*given), record(*given)])
    past = timezone.now() - timedelta(days=30)
    for write in (
        lambda: proofs.accept_changes(RestoreDrill.objects.get()),
        lambda: proofs.expire_proofs(timezone.now()),
    ):
        ExpectedBackupJob.objects.update(
            drill_requested_at=None, unavailable_sandbox=None, next_drill_at=None, proven_until=past, watched_since=past
        )
        write()
        job.refresh_from_db()
        found = (job.drill_requested_at, job.unavailable_sandbox, job.next_drill_at)
        assert found == (requested, sandbox, requested)
    assert job.proof_lost is not None
