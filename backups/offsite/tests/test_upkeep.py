"""Upkeep of off-site copies: verification, retention and locks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from backups.models import BackupEntry, ExpectedBackupJob, OffsiteCopy
from backups.offsite import runs
from backups.offsite.retention import find_lock_end
from backups.offsite.standing import list_late
from backups.offsite.tests.conftest import end_backoff, state_of
from backups.tests.factories import dump, sha256
from portal.egress import s3
from portal.tests.helpers.stores import DROP, Answer

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


def test_copy_that_a_clock_verified_ahead_of_time_is_verified_again(store, job, put_version, run):
    entry = put_version(job)
    run()
    age(-3000)
    run()
    assert abs(OffsiteCopy.objects.get(entry=entry).verified_at - timezone.now()) < DAY


def test_copy_that_is_verified_while_its_database_is_deleted_stays_in_the_store(
    store, job, put_version, run, monkeypatch
):
    entry, verify = put_version(job), s3.Store.verify
    run()
    age(8)

    def verify_and_delete(self, *args):
        BackupEntry.objects.filter(pk=entry.pk).delete()
        return verify(self, *args)

    monkeypatch.setattr(s3.Store, "verify", verify_and_delete)
    run()
    assert (OffsiteCopy.objects.count(), len(store.keys)) == (0, 1)


def test_failure_of_a_clock_that_was_ahead_is_tried_again_at_once(store, job, put_version, run):
    entry = put_version(job)
    runs.queue_due()
    OffsiteCopy.objects.update(retry_at=timezone.now() + 3000 * DAY, state="failed")
    run()
    assert state_of(entry) == "copied"


def test_copy_that_a_clock_missed_ahead_of_time_is_late_a_day_after_its_correction(job, put_version, settings, store):
    put_version(job)
    runs.queue_due()
    OffsiteCopy.objects.update(since=timezone.now() + 3000 * DAY)
    runs.queue_due()
    assert [late.backups for late in list_late(timezone.now() + 2 * DAY)] == [1]


def test_retry_of_a_lost_copy_tomorrow_is_no_fault_of_the_clock(job, put_version, store):
    put_version(job)
    runs.queue_due()
    OffsiteCopy.objects.update(retry_at=timezone.now() + DAY, verified_at=timezone.now() + timedelta(minutes=5))
    before = OffsiteCopy.objects.values().get()
    runs.queue_due()
    assert OffsiteCopy.objects.values().get() == before


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
    assert (state_of(entry), OffsiteCopy.objects.get().loss) == ("copied refused", "")


def test_objects_that_must_be_read_are_read_up_to_a_limit_per_day(store, job, put_version, run, monkeypatch):
    for days in range(3):
        put_version(job, dump(f"-- {days}\n"), "archived", ago=days * DAY)
    run()
    age(8)
    OffsiteCopy.objects.update(was_read_back=True, size=100)
    monkeypatch.setattr(runs, "READ_BACK_PER_DAY", 150)
    due = [copy.pk for copy in runs.list_unverified(store.address.place, timezone.now())]
    assert len(due) == 2
    OffsiteCopy.objects.filter(pk__in=due).update(verified_at=timezone.now())
    assert list(runs.list_unverified(store.address.place, timezone.now())) == []


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
    end_backoff()
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
    assert copy.retry_at > timezone.now() + DAY / 2
    assert (copy.error, len(locked_bucket.versions)) == ("", 2)


# --- Losses ----------------------------------------------------------------------------------------------------------


def lose(entry):
    """Answer that the object of this entry is not there."""
    return lambda method, path: Answer(404) if method == "HEAD" and entry.version_name in path else None


def test_last_copy_that_seems_to_be_lost_is_kept_and_found_again(store, job, put_version, run, settings):
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    run()
    remove_locally(old, settings)
    age(8)
    store.proxy.fault = lose(old)
    for _ in range(3):
        run()
        end_backoff()
    assert (state_of(old), store.proxy.count("DELETE")) == ("pending", 0)
    assert OffsiteCopy.objects.lost().count() == 1
    store.proxy.fault = lambda method, path: None
    run()
    assert (state_of(old), OffsiteCopy.objects.lost().count()) == ("copied", 0)


def test_delete_marker_on_the_last_copy_removes_nothing(store, job, put_version, run, settings):
    versioning = {"Status": "Enabled"}
    store.client.put_bucket_versioning(Bucket=store.address.bucket, VersioningConfiguration=versioning)
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    run()
    remove_locally(old, settings)
    store.delete(key_of(old))
    age(8)
    run()
    end_backoff()
    run()
    assert store.versions == [key_of(old)]
    assert OffsiteCopy.objects.lost().count() == 1


def test_copy_stays_if_the_other_good_one_is_lost_although_verified_lately(store, job, put_version, run, settings):
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    new = put_version(job)
    run()
    remove_locally(old, settings)
    store.delete(key_of(new))
    run()
    assert key_of(old) in store.keys
    assert OffsiteCopy.objects.get(entry=new).loss == "not_found"


def test_lost_copy_goes_once_another_good_one_is_there(store, job, put_version, run, settings):
    old = put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    run()
    remove_locally(old, settings)
    store.delete(key_of(old))
    age(8)
    run()
    new = put_version(job)
    end_backoff()
    run()
    end_backoff()
    run()
    assert store.keys == [key_of(new)]
    assert not OffsiteCopy.objects.filter(entry=old).exists()


# --- Failures --------------------------------------------------------------------------------------------------------


def test_failed_removal_delays_no_copy_and_no_other_removal(store, job, put_version, run, settings):
    first, second = (put_version(job, dump(f"-- {days}\n"), "archived", ago=days * DAY) for days in (3, 2))
    put_version(job, dump("-- 3\n"), "archived", ago=DAY)
    run()
    remove_locally(first, settings)
    remove_locally(second, settings)
    new = put_version(job)
    store.proxy.fault = lambda method, path: Answer(403) if method == "DELETE" and first.version_name in path else None
    run()
    assert (state_of(first), state_of(new)) == ("copied refused", "copied")
    assert not OffsiteCopy.objects.filter(entry=second).exists()


def test_failed_verification_delays_no_other(store, job, put_version, run):
    first, second = put_version(job, dump("-- 1\n"), "archived", ago=DAY), put_version(job)
    run()
    age(8)
    OffsiteCopy.objects.filter(entry=first).update(verified_at=timezone.now() - 9 * DAY)
    store.proxy.fault = lambda method, path: Answer(500) if first.version_name in path else None
    run()
    assert (state_of(first), state_of(second)) == ("copied unreachable", "copied")
    assert OffsiteCopy.objects.get(entry=second).verified_at > timezone.now() - DAY


def test_run_ends_at_once_when_the_store_goes_away(store, job, put_version, run):
    for days in range(3):
        put_version(job, dump(f"-- {days}\n"), "archived", ago=days * DAY)
    gone = []

    def fail_from_the_first_put(method, path):
        gone.extend([1] if method == "PUT" else [])
        return DROP if gone else None

    store.proxy.fault = fail_from_the_first_put
    run()
    assert store.proxy.count("PUT") == 1
    assert set(OffsiteCopy.objects.values_list("state", "error")) == {("failed", "unreachable")}
    store.proxy.fault = lambda method, path: None
    run()
    assert OffsiteCopy.objects.copied().count() == 2  # the one that failed by itself waits


def test_outage_is_recorded_in_the_copies_that_wait_for_verification(store, job, put_version, run):
    entry = put_version(job)
    run()
    age(8)
    store.proxy.fault = lambda method, path: DROP
    run()
    assert state_of(entry) == "copied unreachable"
    store.proxy.fault = lambda method, path: None
    run()
    assert state_of(entry) == "copied"


# --- Former objects --------------------------------------------------------------------------------------------------


def test_locked_object_of_a_replaced_dump_is_removed_once_its_lock_has_ended(
    locked_bucket, job, put_version, run, settings
):
    settings.OFFSITE_URL = locked_bucket.address
    entry = put_version(job)
    run()
    former = OffsiteCopy.objects.get(entry=entry).version
    (Path(settings.VALIDATED_ROOT) / entry.stored_path).write_bytes(b"new")
    BackupEntry.objects.filter(pk=entry.pk).update(server_sha256=sha256(b"new"))
    run()
    key = key_of(entry)
    assert locked_bucket.versions == [key, key]
    locked_bucket.client.put_object_retention(
        Bucket=locked_bucket.address.bucket, Key=key, VersionId=former, BypassGovernanceRetention=True, Retention={}
    )
    age(8)
    run()
    assert locked_bucket.versions == [key]
    assert OffsiteCopy.objects.get(entry=entry).superseded == []
