import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import override
from django_q.models import OrmQ

from backups import findings
from backups.drills import children, runs
from backups.drills.outcomes import PROVEN, Outcome, SandboxUnavailable
from backups.drills.tests.dumps import DUMP, raising, sqlite_dump, store
from backups.models import DrillAssertion, DrillSandbox, ExpectedBackupJob, RestoreDrill
from portal.models import OutboxMessage
from portal.work.jobs import AlreadyRunning

HOUR = timedelta(hours=1)


def due_names() -> list[str]:
    return [job.database_name for job in runs.due(timezone.now())]


# --- What is due -----------------------------------------------------------------------------------------------------


def test_oldest_proof_is_due_first_after_requested_drills(make_stored_job) -> None:
    now = timezone.now()
    make_stored_job("new", proven_at=now - HOUR)
    make_stored_job("old", proven_at=now - 2 * HOUR)
    make_stored_job("never")
    make_stored_job("requested", proven_at=now, next_drill_at=now + HOUR, drill_requested_at=now)

    assert due_names() == ["requested", "never", "old", "new"]


@pytest.mark.parametrize(
    "fields",
    [
        {"is_active": False},
        {"drill_every_days": 0},
        {"next_drill_at": timezone.now() + timedelta(days=1)},
        {"next_drill_at": None},
    ],
    ids=["paused", "without drills", "drilled lately", "not planned"],
)
def test_job_is_not_due_unless_a_drill_is_requested(make_stored_job, fields) -> None:
    job = make_stored_job("a", **fields)
    assert due_names() == []

    runs.request_drills([job])

    assert due_names() == ["a"]


def test_job_without_a_stored_version_is_not_due(make_job) -> None:
    runs.request_drills([make_job()])

    assert due_names() == []


# --- Runs ------------------------------------------------------------------------------------------------------------


def test_run_drills_what_is_due_once(make_stored_job) -> None:
    make_stored_job("a")
    make_stored_job("b")

    assert (runs.run_due(), runs.run_due()) == (2, 0)

    assert RestoreDrill.objects.filter(status=PROVEN).count() == 2


def test_second_run_leaves_the_work_to_the_first(make_stored_job) -> None:
    make_stored_job("a")

    with runs.exclusive_run():
        assert runs.run_due() == 0
        with pytest.raises(AlreadyRunning), runs.exclusive_run(timedelta(0)):
            pass


def test_periodic_job_queues_one_task(make_stored_job) -> None:
    make_stored_job("a")

    runs.queue_due()
    runs.queue_due()

    assert OrmQ.objects.count() == 1


def test_drill_of_a_killed_process_is_run_again_and_leaves_one_record(make_stored_job) -> None:
    job = make_stored_job("a")
    RestoreDrill.objects.create(job=job, entry=job.entries.get())  # what a kill leaves

    runs.run_due()

    assert [drill.status for drill in RestoreDrill.objects.all()] == [PROVEN]


def test_error_of_ours_puts_the_job_off_and_the_others_are_drilled(make_stored_job, monkeypatch) -> None:
    make_stored_job("a")
    make_stored_job("b", agent_id="SRV-2")
    restore = children.restore_dump

    def fail_for_a(descriptor, name, *rest):
        if name.startswith("a."):
            raise RuntimeError
        return restore(descriptor, name, *rest)

    monkeypatch.setattr(children, "restore_dump", fail_for_a)

    assert (runs.run_due(), due_names()) == (2, [])
    assert [drill.job.database_name for drill in RestoreDrill.objects.filter(status=PROVEN)] == ["b"]


def test_unavailable_sandbox_is_a_finding_and_no_failed_proof(make_stored_job, monkeypatch, caplog) -> None:
    job = make_stored_job("a")

    monkeypatch.setattr(children, "restore_dump", raising(SandboxUnavailable("postgresql", {"code": "server_full"})))
    runs.run_due()
    job.refresh_from_db()

    assert "The server has no space left." in caplog.text
    assert (RestoreDrill.objects.count(), job.proof_lost) == (0, None)
    assert HOUR - (job.next_drill_at - timezone.now()) < timedelta(minutes=1)
    assert [finding.key for finding in findings.unavailable_sandboxes(timezone.now())] == ["backups.sandbox:postgresql"]

    monkeypatch.undo()
    runs.request_drills([job])
    DrillSandbox.objects.update(engine="sqlite")
    runs.run_due()

    assert not list(findings.unavailable_sandboxes(timezone.now()))


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job.delete(),
        lambda job: ExpectedBackupJob.objects.update(drill_every_days=0),
        lambda job: ExpectedBackupJob.objects.update(is_active=False),
        lambda job: runs.run_due(),
    ],
    ids=["deleted", "without drills", "paused", "sandbox removed"],
)
def test_unavailable_sandbox_that_no_database_needs_is_no_finding(make_stored_job, monkeypatch, change) -> None:
    job = make_stored_job("a")
    monkeypatch.setattr(children, "restore_dump", raising(SandboxUnavailable("mysql", "refused")))
    runs.run_due()
    assert list(findings.unavailable_sandboxes(timezone.now()))
    unsupported = Outcome(engine="mysql", status="UNSUPPORTED")
    monkeypatch.setattr(children, "restore_dump", lambda *args, **kwargs: unsupported)
    ExpectedBackupJob.objects.update(next_drill_at=timezone.now())

    change(job)

    assert not list(findings.unavailable_sandboxes(timezone.now()))


def test_sandbox_is_unavailable_since_the_first_drill_that_needs_it(make_stored_job, monkeypatch) -> None:
    past = timezone.now() - HOUR
    make_stored_job("a", unavailable_sandbox=DrillSandbox.objects.create(engine="mysql", troubled_since=past))
    make_stored_job("b")
    DrillSandbox.objects.create(engine="postgresql", troubled_since=past)
    for engine in ("mysql", "postgresql"):
        monkeypatch.setattr(children, "restore_dump", raising(SandboxUnavailable(engine, "refused")))
        ExpectedBackupJob.objects.filter(database_name="b").update(next_drill_at=timezone.now() - HOUR)
        runs.run_due()

    since = dict(DrillSandbox.objects.values_list("engine", "troubled_since"))
    assert (since["mysql"] == past, since["postgresql"] > past) == (True, True)


def test_drill_of_mariadb_ends_the_problem_of_the_sandbox_that_it_shares_with_mysql(
    make_stored_job, monkeypatch
) -> None:
    make_stored_job("a")
    DrillSandbox.objects.create(engine="mysql", trouble={"message": "connection refused"})
    monkeypatch.setattr(children, "restore_dump", lambda *args, **kwargs: Outcome(engine="mariadb", status=PROVEN))

    runs.run_due()

    assert not DrillSandbox.objects.exists()


def test_sandbox_is_unavailable_until_each_database_that_needs_it_was_drilled(make_stored_job, monkeypatch) -> None:
    waiting = make_stored_job("a")
    monkeypatch.setattr(children, "restore_dump", raising(SandboxUnavailable("mysql", {"code": "binary_log"})))
    runs.run_due()
    make_stored_job("b")
    monkeypatch.setattr(children, "restore_dump", lambda *args, **kwargs: Outcome(engine="mysql", status=PROVEN))
    runs.run_due()

    waiting.refresh_from_db()
    assert waiting.unavailable_sandbox.trouble == {"code": "binary_log"}
    assert len(list(findings.unavailable_sandboxes(timezone.now()))) == 1

    runs.request_drills([waiting])
    runs.run_due()

    assert not DrillSandbox.objects.exists()


def test_stored_file_that_is_gone_is_a_failed_drill(make_stored_job, settings) -> None:
    job = make_stored_job("a")
    (settings.VALIDATED_ROOT / job.entries.get().stored_path).unlink()

    runs.run_due()

    drill = RestoreDrill.objects.get()
    assert (drill.status, drill.errors) == ("FAILED", [{"line": None, "code": "current_absent"}])


# --- The command -----------------------------------------------------------------------------------------------------


def run_command(*args: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the results, and whether the command ended well."""
    output = StringIO()
    try:
        call_command("drill", "--json", *args, stdout=output)
    except CommandError:
        if not output.getvalue():
            raise
        return json.loads(output.getvalue())["results"], False
    return json.loads(output.getvalue())["results"], True


def test_command_drills_the_chosen_databases_whether_due_or_not(make_stored_job) -> None:
    make_stored_job("a", next_drill_at=None)
    make_stored_job("b")
    make_stored_job("c", agent_id="SRV-2")

    results, is_good = run_command("--agent", "srv-douala-01", "--database", "a")

    assert is_good
    assert [(row["agent_id"], row["database_name"], row["status"]) for row in results] == [
        ("SRV-DOUALA-01", "a", PROVEN)
    ]
    assert results[0]["rows"] == {"a": 2}
    assert set(results[0]) == {
        "agent_id", "database_name", "cycle_at", "engine", "status", "duration_ms", "tables", "rows", "errors",
        "warnings", "assertions",
    }  # fmt: skip


def test_command_ends_with_an_error_in_english_if_one_is_not_proven(make_stored_job) -> None:
    make_stored_job("a")
    make_stored_job("b", DUMP[:-20])

    with override("fr"):
        results, is_good = run_command()

    assert not is_good
    assert [row["status"] for row in results] == [PROVEN, "FAILED"]
    assert results[1]["errors"][-1] == {
        "line": None,
        "message": "The dump is incomplete: the dump program’s last line is missing.",
    }


def test_command_says_what_a_restored_backup_lost(make_stored_job, capsys) -> None:
    job = make_stored_job("a", sqlite_dump(a=2, b=1))
    runs.run_due()
    store(job, DUMP)
    DrillAssertion.objects.create(job=job, name="Enough", query="SELECT count(*) FROM a", expected="3")

    results, is_good = run_command()
    call_command("drill")

    assert is_good
    assert results[0]["warnings"] == ["Table b is gone."]
    assert results[0]["assertions"] == [{"name": "Enough", "ok": False, "value": 2}]
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[1:]] == [
        "Table b is gone.",
        "Assertion “Enough” failed.",
    ]


def test_command_restores_any_file_without_a_record(tmp_path, db) -> None:
    path = tmp_path / "some.sql"
    path.write_bytes(DUMP)

    results, is_good = run_command("--file", str(path))

    assert is_good
    assert [results[0][key] for key in ("agent_id", "database_name", "cycle_at", "tables")] == [None, None, None, 1]
    assert not RestoreDrill.objects.exists()


@pytest.mark.parametrize(
    "args",
    [["--file", "/nowhere"], ["--file", "/", "--agent", "A"], ["--agent", "NOBODY"]],
    ids=["absent", "both", "none"],
)
def test_command_refuses_what_it_cannot_drill(args, db) -> None:
    with pytest.raises(CommandError):
        run_command(*args)


# --- What changes during a drill -------------------------------------------------------------------------------------


def test_period_that_is_changed_during_a_drill_is_kept(make_stored_job, meanwhile) -> None:
    job = make_stored_job("a")
    meanwhile(lambda: ExpectedBackupJob.objects.filter(pk=job.pk).update(drill_every_days=0))

    runs.run_due()

    job.refresh_from_db()
    assert (job.proven_at is not None, job.proven_until, job.next_drill_at) == (True, None, None)


def test_database_that_is_deleted_during_a_drill_leaves_nothing(make_stored_job, meanwhile) -> None:
    job = make_stored_job("a")
    meanwhile(job.delete)

    assert (runs.run_due(), RestoreDrill.objects.count()) == (1, 0)


def test_version_that_replaces_the_file_during_a_drill_is_drilled_instead(make_stored_job, meanwhile) -> None:
    job = make_stored_job("a")
    stored = job.entries.get()
    type(stored).objects.filter(pk=stored.pk).update(server_sha256="0" * 64)  # the file is the next version's already
    meanwhile(lambda: store(job, sqlite_dump(a=3)))

    runs.run_due()

    drill = RestoreDrill.objects.get()
    assert (drill.status, drill.rows, drill.entry == stored) == (PROVEN, {"a": 3}, False)


def test_file_that_is_no_longer_what_was_verified_is_no_proof(make_stored_job) -> None:
    job = make_stored_job("a")
    job.entries.update(server_sha256="0" * 64)

    runs.run_due()

    assert RestoreDrill.objects.get().status == "FAILED"


def test_loss_of_a_paused_database_sends_no_notice(make_stored_job, channel) -> None:
    job = make_stored_job("a", DUMP[:-20], is_active=False)
    runs.request_drills([job])

    runs.run_due()

    job.refresh_from_db()
    assert (job.proof_lost is not None, OutboxMessage.objects.count()) == (True, 0)


def test_command_names_an_unavailable_sandbox_and_drills_the_others(make_stored_job, monkeypatch, capsys) -> None:
    make_stored_job("a")
    make_stored_job("b")
    restore = children.restore_dump

    def refuse_a(descriptor, name, *rest):
        if name.startswith("a."):
            raise SandboxUnavailable("postgresql", "refused")
        return restore(descriptor, name, *rest)

    monkeypatch.setattr(children, "restore_dump", refuse_a)

    results, is_good = run_command()

    assert ([row["database_name"] for row in results], is_good) == (["b"], False)
