"""Off-site copies: every stored version has one, whatever fails or dies on the way, and none is doubled."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from backups.models import BackupEntry, OffsiteCopy
from backups.offsite import copying, runs
from backups.offsite.copying import copy_key
from backups.offsite.tests.conftest import end_backoff, full_key, state_of
from backups.reasons import make_reason
from backups.scanner.disk.opening import UnusablePath
from backups.tests.factories import dump, sha256
from portal.egress import file_parts, s3
from portal.models import JobRun
from portal.work.jobs import claim_cycle
from portal.work.processes import HOST

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
MIB = 1024 * 1024


def test_current_and_earlier_versions_are_copied(store, job, put_version, run):
    first = put_version(job, dump("-- 1\n"), "archived", ago=2 * DAY)
    last = put_version(job, dump("-- 2\n"))
    put_version(job, dump("-- 0\n"), "removed", ago=9 * DAY)
    run()
    assert store.keys == sorted([full_key(store, first), full_key(store, last)])
    assert (store.content(full_key(store, first)), store.content(full_key(store, last))) == (
        dump("-- 1\n"),
        dump("-- 2\n"),
    )
    copy = OffsiteCopy.objects.get(entry=last)
    assert (copy.state, copy.sha256, copy.size) == ("copied", last.server_sha256, last.server_size)
    assert copy.copied_at <= copy.verified_at
    assert copy.etag


def test_without_a_store_nothing_is_done(job, put_version, run, settings):
    put_version(job)
    assert settings.OFFSITE_URL is None
    run()
    assert not OffsiteCopy.objects.exists()


def test_copy_keeps_its_key_when_the_current_version_becomes_an_earlier_one(store, job, put_version, run):
    entry = put_version(job)
    run()
    BackupEntry.objects.filter(pk=entry.pk).update(promotion="archived", stored_path=entry.path_as_version)
    store.proxy.calls.clear()
    run()
    assert store.keys == [full_key(store, entry)]
    assert store.proxy.count("PUT") == 0


def test_nothing_due_queues_nothing(store, job, put_version, run):
    put_version(job)
    run()
    OrmQ.objects.all().delete()
    assert runs.queue_due() == 0
    assert not OrmQ.objects.exists()


def test_waiting_run_is_queued_once(store, job, put_version):
    put_version(job)
    assert (runs.queue_due(), runs.queue_due()) == (1, 1)
    assert OrmQ.objects.count() == 1


def test_run_leaves_the_work_to_the_holder_of_the_lease(store, job, put_version, monkeypatch):
    monkeypatch.setattr(runs, "PATIENCE", timedelta(0))
    entry = put_version(job)
    runs.queue_due()
    with runs.exclusive_lease(runs.LEASE):
        runs.run_due()
    assert state_of(entry) == "pending"


def test_lease_of_a_dead_run_is_taken_over_at_once(store, job, put_version, run):
    entry = put_version(job)
    claim_cycle(runs.LEASE, "all", runs.LEASE_LENGTH)
    JobRun.objects.update(holder=f"{HOST}:4194305:1")
    run()
    assert state_of(entry) == "copied"


def test_altered_file_is_never_sent(store, job, put_version, run, settings):
    entry = put_version(job)
    other = put_version(job, dump("-- other\n"), "archived", ago=DAY)
    (Path(settings.VALIDATED_ROOT) / entry.stored_path).write_bytes(b"altered")
    run()
    assert (state_of(entry), state_of(other)) == ("failed local_differs", "copied")
    assert store.keys == [full_key(store, other)]


def test_absent_file_and_link_are_never_followed(store, job, put_version, run, settings, tmp_path):
    entry = put_version(job)
    path = Path(settings.VALIDATED_ROOT) / entry.stored_path
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    run()
    assert (state_of(entry), store.keys) == ("failed local_absent", [])


def test_storage_that_is_not_mounted_ends_the_run_and_accuses_no_file(store, job, put_version, run, settings, tmp_path):
    entry, other = put_version(job), put_version(job, dump("-- 1\n"), "archived", ago=DAY)
    root = Path(settings.VALIDATED_ROOT)
    root.rename(tmp_path / "mounted")
    for _ in range(2):
        run()
        assert (state_of(entry), state_of(other)) == ("failed local_unreadable", "pending")
        end_backoff()
        root.mkdir(exist_ok=True)
    root.rmdir()
    (tmp_path / "mounted").rename(root)
    run()
    assert (state_of(entry), state_of(other)) == ("copied", "copied")


@pytest.mark.parametrize("step", ["measure_parts", "open_file"])
def test_file_that_a_failing_disk_does_not_give_is_not_called_different(
    store, job, put_version, run, monkeypatch, step
):
    entry = put_version(job)

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(copying, step, fail)
    run()
    copy = OffsiteCopy.objects.get(entry=entry)
    assert (state_of(entry), copy.error_code) == ("failed local_unreadable", "EIO")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("file_absent", "local_absent"),
        ("file_not_regular", "local_absent"),
        ("file_unreadable", "local_unreadable"),
        ("folder_unreadable", "local_unreadable"),
    ],
)
def test_file_counts_as_absent_only_if_it_was_looked_for(store, job, put_version, run, monkeypatch, code, word):
    entry = put_version(job)

    def refuse(*arguments):
        raise UnusablePath(make_reason(code))

    monkeypatch.setattr(copying, "open_file", refuse)
    run()
    assert state_of(entry) == f"failed {word}"


def test_version_that_a_scan_moves_meanwhile_is_copied_by_the_next_run(store, job, put_version, run, settings):
    entry = put_version(job)
    runs.queue_due()
    copy = OffsiteCopy.objects.select_related("entry__job").get()
    root = Path(settings.VALIDATED_ROOT)
    (root / entry.path_as_version).parent.mkdir()
    (root / entry.stored_path).rename(root / entry.path_as_version)
    BackupEntry.objects.filter(pk=entry.pk).update(promotion="archived", stored_path=entry.path_as_version)
    runs.attempt(copying.copy_version, copy, copying.Run(store.store, lease=None))
    assert state_of(entry) == "pending"
    run()
    assert state_of(entry) == "copied"


def test_replaced_dump_of_a_cycle_replaces_its_copy(store, job, put_version, run, settings):
    entry = put_version(job)
    run()
    entry.staged_name = "other.sql.gz"
    entry.stored_path = f"{job.storage_folder}/current_version/other.sql.gz"
    (Path(settings.VALIDATED_ROOT) / entry.stored_path).write_bytes(b"new")
    entry.server_sha256 = sha256(b"new")
    entry.save()
    run()
    assert state_of(entry) == "copied"
    assert store.keys == [full_key(store, entry)]
    assert store.content(full_key(store, entry)) == b"new"


def test_replaced_dump_leaves_no_former_version_in_a_bucket_with_versions(store, job, put_version, run, settings):
    versioning = {"Status": "Enabled"}
    store.client.put_bucket_versioning(Bucket=store.address.bucket, VersioningConfiguration=versioning)
    entry = put_version(job)
    run()
    (Path(settings.VALIDATED_ROOT) / entry.stored_path).write_bytes(b"new")
    BackupEntry.objects.filter(pk=entry.pk).update(server_sha256=sha256(b"new"))
    run()
    assert store.versions == [full_key(store, entry)]
    assert store.content(full_key(store, entry)) == b"new"


def test_another_store_gets_all_versions(store, job, put_version, run, settings):
    entry = put_version(job)
    run()
    settings.OFFSITE_URL = type(store.address)(**{**vars(store.address), "prefix": "second"})
    run()
    assert store.keys == sorted([full_key(store, entry), f"second/{copy_key(entry)}"])


# --- Kills -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_kill_at_any_call_doubles_and_loses_nothing(
    locked_bucket, job, put_version, settings, monkeypatch, big, is_after
):
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)
    settings.OFFSITE_URL = locked_bucket.address
    real, left = s3.Store.call, []

    def kill_after_some(self, name, **arguments):
        left[0] -= 1
        if left[0] == 0 and not is_after:
            raise Killed
        try:
            return real(self, name, **arguments)
        finally:
            if left[0] == 0:
                raise Killed

    monkeypatch.setattr(s3.Store, "call", kill_after_some)
    at, entries = 1, []
    while True:
        entry = put_version(job, os.urandom(11 * MIB if big else 100), "archived", ago=DAY * at)
        entries.append(entry)
        left[:] = [at]
        runs.queue_due()
        try:
            runs.run_due()
        except Killed:
            left[:] = [10_000]
            runs.run_due()
        else:
            break
        at += 1
    assert at > (6 if big else 3)
    assert {state_of(entry) for entry in entries} == {"copied"}
    keys = sorted(full_key(locked_bucket, entry) for entry in entries)
    assert (sorted(locked_bucket.keys), sorted(locked_bucket.versions)) == (keys, keys)
    assert list(locked_bucket.store.uploads()) == []


# --- Uploads that nobody resumes -------------------------------------------------------------------------------------


def test_abandoned_upload_is_aborted(store, job, put_version, run):
    key = f"{store.address.prefix}/ACME/_/gone/versions/x.sql.gz"
    store.client.create_multipart_upload(Bucket=store.address.bucket, Key=key)
    put_version(job)
    run()
    assert list(store.store.uploads()) == []


def test_upload_of_today_is_left_alone(store, job, put_version, monkeypatch):
    upload = s3.Upload("ACME/other", "id", timezone.now())
    monkeypatch.setattr(s3.Store, "uploads", lambda self: [upload])
    monkeypatch.setattr(s3.Store, "abort", lambda self, upload: pytest.fail("aborted"))
    runs.abort_abandoned(copying.Run(store.store, lease=None), timezone.now())


def test_search_for_abandoned_uploads_reads_no_digests(
    store, job, put_version, run, settings, django_assert_num_queries
):
    put_version(job)
    runs.queue_due()
    OffsiteCopy.objects.update(retry_at=timezone.now() + timedelta(hours=1), digests=b"x" * 32)
    with django_assert_num_queries(1) as done:
        runs.abort_abandoned(SimpleNamespace(store=store.store), timezone.now())
    assert "digests" not in done.captured_queries[0]["sql"]


def test_copy_whose_version_is_removed_meanwhile_leaves_no_object(store, job, put_version, run, monkeypatch):
    entry, put = put_version(job), s3.Store.put

    def put_and_remove(self, *args, **options):
        put(self, *args, **options)
        BackupEntry.objects.filter(pk=entry.pk).update(promotion="removed")
        runs.queue_due()

    monkeypatch.setattr(s3.Store, "put", put_and_remove)
    run()
    assert (OffsiteCopy.objects.count(), store.keys) == (0, [])
