"""Off-site copies that take several runs: each part is measured, sent and read back once."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from backups.models import BackupEntry, OffsiteCopy
from backups.offsite import copying, runs
from backups.offsite.tests.conftest import full_key, state_of
from backups.tests.factories import sha256
from portal.egress import file_parts

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
MIB = 1024 * 1024


def stop_after(calls, monkeypatch):
    """Let each run have its time until it has asked for it so many times."""

    def check_time(run):
        run.asked = getattr(run, "asked", 0) + 1
        if run.asked >= calls:
            raise copying.TimeUp

    monkeypatch.setattr(copying.Run, "check_time", check_time)


def count_turns():
    """Do runs until none queues another, and return how many these were."""
    runs.queue_due()
    turns = 0
    while OrmQ.objects.exists():
        OrmQ.objects.all().delete()
        runs.run_due()
        turns += 1
    return turns


def test_file_that_needs_three_runs_is_measured_once_and_each_part_sent_once(store, job, put_version, monkeypatch):
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)
    measured, real = [], copying.measure_parts
    monkeypatch.setattr(copying, "measure_parts", lambda *arguments: measured.append(1) or real(*arguments))
    stop_after(3, monkeypatch)
    content = os.urandom(19 * MIB)
    entry = put_version(job, content)
    assert count_turns() == 3 + 2  # two more read it back: this store knows no checksums of large objects
    assert state_of(entry) == "copied"
    sent = [path.partition("partNumber=")[2][:1] for method, path in store.proxy.calls if "partNumber=" in path]
    assert (sent, len(measured)) == (["1", "2", "3", "4"], 1)
    assert store.content(full_key(store, entry)) == content


def test_object_that_is_read_back_in_several_runs_is_read_once(store, job, put_version, run, monkeypatch):
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)
    entry = put_version(job, os.urandom(19 * MIB))
    run()
    assert OffsiteCopy.objects.get(entry=entry).was_read_back
    OffsiteCopy.objects.update(verified_at=timezone.now() - 8 * DAY)
    stop_after(2, monkeypatch)
    store.proxy.calls.clear()
    assert count_turns() == 4
    assert store.proxy.count("GET", entry.version_name) == 4
    assert OffsiteCopy.objects.get(entry=entry).verified_at > timezone.now() - DAY


def test_object_that_changes_while_it_is_read_back_is_read_from_its_start(store, job, put_version, run, monkeypatch):
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)
    entry = put_version(job, os.urandom(11 * MIB))
    run()
    OffsiteCopy.objects.update(verified_at=timezone.now() - 8 * DAY)
    stop_after(2, monkeypatch)
    runs.run_due()
    assert OffsiteCopy.objects.get(entry=entry).read_parts == 1
    store.overwrite(full_key(store, entry), bytes(5 * MIB) + store.content(full_key(store, entry))[5 * MIB :])
    runs.run_due()
    assert OffsiteCopy.objects.get(entry=entry).loss == "altered"


def test_interrupted_upload_of_a_replaced_dump_is_not_resumed(store, job, put_version, run, settings, monkeypatch):
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)
    entry = put_version(job, os.urandom(11 * MIB))
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        run()
    content = os.urandom(11 * MIB)
    (Path(settings.VALIDATED_ROOT) / entry.stored_path).write_bytes(content)
    BackupEntry.objects.filter(pk=entry.pk).update(server_sha256=sha256(content))
    run()
    assert state_of(entry) == "copied"
    assert store.content(full_key(store, entry)) == content
    assert list(store.store.uploads()) == []
