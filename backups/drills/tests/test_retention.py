from datetime import timedelta

from django.utils import timezone

from backups.drills.tests.dumps import sqlite_dump, store
from backups.models import RestoreDrill
from backups.schedules import outdated_drills


def test_old_drills_are_removed_but_the_last_proof_of_each_database(make_job) -> None:
    long_ago = timezone.now() - timedelta(days=1_000)
    kept = []
    for name in ("a", "b"):
        job = make_job(name)
        entry = store(job, sqlite_dump(t=1))
        drills = [
            RestoreDrill.objects.create(job=job, entry=entry, started_at=long_ago, status=status, losses=losses)
            for status, losses in [("PROVEN", []), ("PROVEN", []), ("FAILED", [{"code": "x"}])]
        ]
        kept += [drills[1].pk, RestoreDrill.objects.create(job=job, entry=entry).pk]

    outdated_drills(timezone.now()).delete()

    assert set(RestoreDrill.objects.values_list("pk", flat=True)) == set(kept)
