"""Upkeep of off-site copies: verification, retention and locks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from backups.models import BackupEntry, ExpectedBackupJob, OffsiteCopy
from backups.offsite import runs
from backups.offsite.retention import find_lock_end
from backups.offsite.tests.conftest import state_of
from backups.tests.factories import dump
from portal.tests.helpers.stores import Answer

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def age(days):
    OffsiteCopy.objects.update(verified_at=timezone.now() - days * DAY)


def key_of(entry):
    copy = OffsiteCopy.objects.get(entry=entry)
    return f"{copy.place.partition('/')[2].partition('/')[2]}/{copy.key}"


def remove_locally(entry, settings):
    """Do what retention does with an expired version."""
    (Path(settings.VALIDATED_ROOT) / entry.stored_path).unlink()
    BackupEntry.objects.filter(pk=entry.pk).update(promotion="removed")


# --- Verification ----------------------------------------------------------------------------------------------------


def test_copy_is_verified_every_week(store, job, put_version, run):
    entry = put_version(job)
    run()
    age(6)
    run()
    assert OffsiteCopy.objects.get(entry=entry).verified_at < timezone.now() - 5 * DAY
    age(8)
    run()
    assert OffsiteCopy.objects.get(entry=entry).verified_at > timezone.now() - DAY


@pytest.mark.parametrize("loss", ["not_found", "altered"])
def test_vanished_or_altered_copy_is_copied_again_and_remembered(store, job, put_version, run, loss):
    entry = put_version(job, dump())
    run()
    if loss == "not_found":
        store.delete(key_of(entry))
    else:
        store.overwrite(key_of(entry), b"x" * len(dump()))
    age(8)
    run()
    copy = OffsiteCopy.objects.get(entry=entry)
    assert (copy.state, copy.loss) == ("pending", loss)
    run()
    copy.refresh_from_db()
    assert (copy.state, copy.loss) == ("copied", loss)
    assert store.content(key_of(entry)) == dump()


def test_store_that_does_not_answer_loses_no_copy(store, job, put_version, run):
    entry = put_version(job)
    run()
    age(8)
    store.proxy.fault = lambda method, path: Answer(403) if ".sql.gz" in path else None
    run()
    assert (state_of(entry), OffsiteCopy.objects.get().loss) == ("copied", "")


def test_objects_that_must_be_read_are_read_up_to_a_limit_per_day(store, job, put_version, run, monkeypatch):
    for days in range(3):
        put_version(job, dump(f"-- {days}\n"), "archived", ago=days * DAY)
    run()
    age(8)
    OffsiteCopy.objects.update(was_read_back=True, size=100)
    monkeypatch.setattr(runs, "READ_BACK_PER_DAY", 150)
    due = [copy.pk for copy in runs.to_verify(store.address.place, timezone.now())]
    assert len(due) == 2
    OffsiteCopy.objects.filter(pk__in=due).update(verified_at=timezone.now())
    assert list(runs.to_verify(store.address.place, timezone.now())) == []


# --- Retention -------------------------------------------------------------------------------------------------------


def test_copy_goes_with_its_version(store, job, put_version, run, settings):
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    new = put_version(job)
    run()
    remove_locally(old, settings)
    run()
    assert store.keys == [key_of(new)]
    assert not OffsiteCopy.objects.filter(entry=old).exists()


def test_last_good_copy_stays(store, job, put_version, run, settings):
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    run()
    put_version(job, dump("-- 2\n"), warnings=["shrunk"])
    remove_locally(old, settings)
    run()
    assert key_of(old) in store.keys
    assert len(store.keys) == 2


def test_last_good_copy_stays_until_another_is_there(store, job, put_version, run, settings):
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    run()
    new = put_version(job, dump("-- 2\n"))
    remove_locally(old, settings)
    store.proxy.fault = lambda method, path: Answer(507) if method == "PUT" else None
    run()
    assert store.keys == [key_of(old)]
    store.proxy.fault = lambda method, path: None
    run()
    run()
    assert store.keys == [key_of(new)]


def test_full_store_is_relieved_before_anything_is_copied(store, job, put_version, run, settings):
    old = put_version(job, dump("-- 1\n"), "archived", ago=2 * DAY)
    kept = put_version(job, dump("-- 2\n"), "archived", ago=DAY)
    run()
    put_version(job)
    remove_locally(old, settings)
    store.proxy.fault = lambda method, path: Answer(507) if method == "PUT" else None
    run()
    assert store.keys == [key_of(kept)]


def test_copies_of_a_deleted_database_stay_in_the_store(store, job, put_version, run):
    put_version(job)
    run()
    job.delete()
    run()
    assert len(store.keys) == 1


# --- Locks -----------------------------------------------------------------------------------------------------------

END = datetime(2025, 6, 29, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"keep_last": 1}, "2025-06-30"),
        ({"keep_last": 3}, "2025-07-02"),
        ({"keep_last": 1, "keep_weekly": 2}, "2025-07-07"),  # the 29th is a Sunday
        ({"keep_last": 1, "keep_monthly": 1}, "2025-06-30"),  # the 30th takes the place of June
    ],
)
def test_lock_lasts_as_long_as_retention_keeps_the_version(policy, expected):
    job = ExpectedBackupJob(**{"keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0} | policy)
    stored, coming = [END - back * DAY for back in range(9)], [END + ahead * DAY for ahead in range(1, 60)]
    assert f"{find_lock_end(END, stored, coming, job):%Y-%m-%d}" == expected


def test_locked_copy_is_left_alone_and_is_no_error(locked_bucket, job, put_version, run, settings):
    settings.OFFSITE_URL = locked_bucket.address
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    put_version(job)
    run()
    copy = OffsiteCopy.objects.get(entry=old)
    assert copy.locked_until > timezone.now() + DAY
    assert copy.version
    remove_locally(old, settings)
    run()
    OffsiteCopy.objects.filter(pk=copy.pk).update(locked_until=None)  # so that the store has to refuse
    run()
    copy.refresh_from_db()
    assert copy.locked_until > timezone.now() + DAY
    assert len(locked_bucket.versions) == 2
