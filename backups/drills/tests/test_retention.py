"""How long drills and assertions stay, as docs/privacy.md says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from backups.drills.tests.dumps import sqlite_dump, store
from backups.models import DrillAssertion, ExpectedBackupJob, RestoreDrill
from portal.work import jobs
from portal.work.retention import prune_rows

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
YEAR = 365 * DAY
LOST = [{"code": "table_gone", "table": "a"}]


@pytest.fixture
def make_drill(make_job: Any) -> Any:
    """Return a function that makes a drill of a database, that long ago."""
    entries: dict[str, Any] = {}

    def make(database: str, ago: timedelta, status: str = "FAILED", **fields: Any) -> int:
        if database not in entries:
            entries[database] = store(make_job(database), sqlite_dump(t=1))
        entry = entries[database]
        given = {"job": entry.job, "entry": entry, "started_at": timezone.now() - ago, "status": status}
        return RestoreDrill.objects.create(**given | fields).pk

    return make


def prune() -> None:
    lease = jobs.claim_cycle("prune", "today")
    assert lease is not None
    prune_rows(lease)


def remaining() -> set[int]:
    return set(RestoreDrill.objects.values_list("pk", flat=True))


def test_drills_are_removed_after_a_year_but_the_last_proof_of_each_database(make_drill: Any) -> None:
    kept = set()
    for database in ("a", "b"):
        make_drill(database, 3 * YEAR, "PROVEN")
        kept.add(make_drill(database, 2 * YEAR, "PROVEN"))
        make_drill(database, 2 * YEAR, "PROVEN", losses=LOST)
        for status in ("FAILED", "UNSUPPORTED", "RUNNING"):
            make_drill(database, YEAR + MINUTE, status)
            kept.add(make_drill(database, YEAR - MINUTE, status))

    prune()

    assert remaining() == kept


def test_drills_without_a_proof_are_removed_too(make_drill: Any) -> None:
    make_drill("never", 2 * YEAR)
    make_drill("unsupported", 2 * YEAR, "UNSUPPORTED")
    newer = make_drill("proven", 2 * YEAR, "PROVEN"), make_drill("proven", DAY, "PROVEN")

    prune()

    assert remaining() == {newer[1]}


def test_drills_stay_as_long_as_the_audit_log(make_drill: Any, settings: Any) -> None:
    settings.AUDIT_RETENTION_DAYS = 10
    kept = make_drill("a", 10 * DAY - MINUTE)
    make_drill("a", 10 * DAY + MINUTE)

    prune()

    assert remaining() == {kept}


def test_drills_and_assertions_are_removed_with_their_database(make_drill: Any) -> None:
    make_drill("a", DAY, "PROVEN")
    kept = make_drill("b", DAY, "PROVEN")
    for job in ExpectedBackupJob.objects.all():
        DrillAssertion.objects.create(job=job, name="Rows", query="SELECT 1", expected="1")

    ExpectedBackupJob.objects.get(database_name="a").delete()

    assert remaining() == {kept}
    assert [asserted.job.database_name for asserted in DrillAssertion.objects.all()] == ["b"]


def test_drills_are_removed_with_their_backup(make_drill: Any, make_job: Any) -> None:
    make_drill("a", DAY, "PROVEN")
    job = ExpectedBackupJob.objects.get()
    later = store(job, sqlite_dump(t=2), ago=timedelta(minutes=1))
    kept = RestoreDrill.objects.create(job=job, entry=later).pk

    job.entries.exclude(pk=later.pk).get().delete()

    assert remaining() == {kept}
