from datetime import timedelta

import pytest
from django.utils import timezone

from backups.drills import proofs, runs
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome
from backups.drills.proofs import compare_rows
from backups.drills.tests.dumps import sqlite_dump, store
from backups.models import DrillAssertion, ExpectedBackupJob, RestoreDrill
from portal.models import OutboxMessage
from portal.work.jobs import Lease


@pytest.fixture
def drilled(job, channel):
    """Return a function that stores a dump, drills it, and returns the drill with the job read anew."""

    def drilling(dump: bytes) -> RestoreDrill:
        store(job, dump)
        with runs.exclusive_run() as run:
            drill = runs.drill_job(ExpectedBackupJob.objects.get(pk=job.pk), run)
        assert drill is not None
        job.refresh_from_db()
        return drill

    return drilling


def codes(job: ExpectedBackupJob) -> list[str]:
    return [why["code"] for why in job.proof_lost or []]


def test_restored_backup_is_proven_until_two_days_after_the_next_drill(job, drilled) -> None:
    drill = drilled(sqlite_dump(a=3, b=2))

    assert (drill.status, drill.rows, drill.tables, drill.engine) == (PROVEN, {"a": 3, "b": 2}, 2, "sqlite")
    assert job.proven_until - job.proven_at == timedelta(days=9)
    assert job.next_drill_at - drill.finished_at < timedelta(days=7, minutes=1)
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize(
    ("later", "lost"),
    [
        (sqlite_dump(a=100), ["table_gone"]),
        (sqlite_dump(a=49, b=10), ["rows_lost"]),
        (sqlite_dump(a=50, b=5), []),
        (sqlite_dump(a=100, b=10)[:-200], ["not_restorable"]),
        (sqlite_dump(a=100, b=10, c=1), []),
    ],
    ids=["a table is gone", "rows down by more", "rows down by as much as allowed", "end is missing", "a new table"],
)
def test_proof_is_lost_by_what_changed_since_the_last_one(job, drilled, later: bytes, lost: list[str]) -> None:
    drilled(sqlite_dump(a=100, b=10))

    drill = drilled(later)

    assert codes(job) == lost
    assert drill.is_proof == (lost == [])
    assert OutboxMessage.objects.count() == len(lost)


def test_lost_proof_is_compared_with_the_last_proof_until_changes_are_accepted(job, drilled) -> None:
    drilled(sqlite_dump(a=100))
    drilled(sqlite_dump(a=10))
    drill = drilled(sqlite_dump(a=10))
    assert (codes(job), proofs.may_accept(drill)) == (["rows_lost"], True)

    proofs.accept_changes(drill)
    again = drilled(sqlite_dump(a=9))

    assert (codes(job), again.is_proof) == ([], True)


def test_dump_that_cannot_be_restored_is_not_to_be_accepted(job, drilled) -> None:
    assert not proofs.may_accept(drilled(b"BEGIN TRANSACTION;\nCREATE TABLE a(\n"))


def test_recovery_closes_the_notice_of_the_loss(job, drilled) -> None:
    drilled(b"BEGIN TRANSACTION;\nCREATE TABLE a(\n")

    drilled(sqlite_dump(a=1))

    assert list(OutboxMessage.objects.order_by("pk").values_list("state", flat=True)) == ["opened", "closed"]


def test_same_loss_twice_sends_one_notice(job, drilled) -> None:
    for _time in range(2):
        drilled(b"BEGIN TRANSACTION;\nCREATE TABLE a(\n")

    assert OutboxMessage.objects.count() == 1
    assert job.next_drill_at - timezone.now() < timedelta(days=1)


@pytest.mark.parametrize(
    ("query", "comparison", "expected", "holds", "value"),
    [
        ("SELECT count(*) FROM a", "at_least", "3", True, 3),
        ("SELECT count(*) FROM a", "at_least", "4", False, 3),
        ("SELECT count(*) FROM a", "at_most", "2", False, 3),
        ("SELECT max(name) FROM a", "equal", "name 2", True, None),
        ("SELECT max(name) FROM a", "equal", "name 3", False, None),
        ("SELECT '2000-01-01'", "within_hours", "24", False, None),
        ("SELECT datetime('now')", "within_hours", "24", True, None),
        ("SELECT id FROM a", "at_least", "0", False, None),
        ("DELETE FROM a", "at_least", "0", False, None),
        ("SELECT nothing FROM a", "at_least", "0", False, None),
    ],
    ids=["reached", "missed", "exceeded", "text", "other text", "old", "new", "three rows", "no query", "no column"],
)
def test_assertion_holds_or_the_proof_is_lost(job, drilled, query, comparison, expected, holds, value) -> None:
    DrillAssertion.objects.create(job=job, name="A", query=query, comparison=comparison, expected=expected)

    drill = drilled(sqlite_dump(a=3))

    assert drill.status == PROVEN
    assert (drill.assertions[0]["ok"], drill.assertions[0]["value"]) == (holds, value)
    assert codes(job) == ([] if holds else ["assertion_false"])
    assert drill.rows == {"a": 3}


def test_old_proof_is_lost_with_one_notice_unless_the_database_is_paused(make_job, channel) -> None:
    past = timezone.now() - timedelta(days=1)
    old, paused = make_job("old"), make_job("paused", is_active=False)
    ExpectedBackupJob.objects.update(proven_at=past, proven_until=past)

    assert (proofs.expire_proofs(timezone.now()), proofs.expire_proofs(timezone.now())) == (1, 0)

    old.refresh_from_db()
    paused.refresh_from_db()
    assert (codes(old), codes(paused)) == (["proof_expired"], [])
    assert OutboxMessage.objects.count() == 1


@pytest.mark.parametrize(("days", "planned"), [(0, False), (3, True)])
def test_changed_period_plans_the_next_drill_and_the_end_of_the_proof(job, drilled, days: int, planned: bool) -> None:
    drill = drilled(sqlite_dump(a=1))
    job.drill_every_days = days

    proofs.replan(job)

    assert job.next_drill_at == (drill.finished_at + timedelta(days=days) if planned else None)
    assert job.proven_until == (job.proven_at + timedelta(days=days + 2) if planned else None)


def test_unsupported_dump_is_neither_proof_nor_loss(job, drilled) -> None:
    drill = drilled(b"-- a script of another system\nGO\nCREATE TABLE a (id integer);\n")

    assert (drill.status, drill.losses, [why["code"] for why in drill.warnings]) == (
        UNSUPPORTED,
        [],
        ["engine_unknown"],
    )
    assert (job.proven_at, job.proof_lost) == (None, None)


def test_schema_stays_with_the_last_drill_that_has_one(job, drilled) -> None:
    first = drilled(sqlite_dump(a=1))
    drilled(b"GO\n")

    first.refresh_from_db()
    assert "CREATE TABLE a" in first.schema


def test_schema_is_kept_with_the_latest_drill_only(job, drilled) -> None:
    first = drilled(sqlite_dump(a=1))
    second = drilled(sqlite_dump(a=1))

    first.refresh_from_db()
    assert (first.schema, "CREATE TABLE a" in second.schema) == ("", True)


@pytest.mark.parametrize(
    ("before", "now", "percent", "lost"),
    [
        ({"a": 2}, {}, None, ["table_gone"]),
        ({"a": 2}, {"a": 0}, None, []),
        ({"a": 2}, {"a": 1}, 49, ["rows_lost"]),
        ({"a": 2}, {"a": 1}, 50, []),
        ({"a": 0}, {"a": 0}, 0, []),
        ({"a": 2, "b": 2}, {"b": 0}, 50, ["table_gone", "rows_lost"]),
    ],
)
def test_rows_are_compared_by_table(before, now, percent, lost) -> None:
    assert [why["code"] for why in compare_rows(before, now, percent)] == lost


def test_outcome_of_a_lost_lease_is_not_recorded(job) -> None:
    drill = RestoreDrill.objects.create(job=job, entry=store(job, sqlite_dump(a=1)))
    lost = Lease(pk=0, job="backups.drill", cycle_key="all", fence=1)

    with pytest.raises(Exception, match="overtaken"):
        proofs.record_outcome(drill, Outcome(status=FAILED), lost)

    drill.refresh_from_db()
    job.refresh_from_db()
    assert (drill.status, job.proof_lost) == ("RUNNING", None)
