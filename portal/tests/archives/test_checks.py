"""What doctor says of the portal's backups."""

import os
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest
from django.db import connection
from django.utils import timezone

from portal.archives import checks
from portal.archives.records import JOB
from portal.models import JobRun
from portal.status.doctor.runs import list_checks
from portal.tests.helpers.doctor import rows_of
from portal.tests.helpers.stores import Answer

HOUR = timedelta(hours=1)


@pytest.fixture
def folder(tmp_path, settings):
    settings.PORTAL_BACKUP_TARGET, settings.PORTAL_BACKUP_PASSPHRASE = str(tmp_path), "secret of the backup"
    return tmp_path


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("target", "ago", "status"),
    [("", None, "warning"), ("", 480 * HOUR, "ok"), ("/mnt", None, "warning"), ("/mnt", 47 * HOUR, "ok"), ("/mnt", 49 * HOUR, "failed"), ("/other", HOUR, "warning")],
)  # fmt: skip
def test_age_of_the_last_backup_is_reported(settings, target, ago, status):
    settings.PORTAL_BACKUP_TARGET = target
    if ago:
        finished = timezone.now() - ago
        JobRun.objects.create(job=JOB, cycle_key="1", status="done", finished_at=finished, result={"place": "/mnt"})
    assert rows_of("portal_backup")["portal_backup"].status == status


@pytest.mark.django_db
@pytest.mark.postgresql("SQLite has no roles")
@pytest.mark.parametrize(("may", "status"), [(True, "ok"), (False, "failed")])
def test_role_that_may_not_create_temporary_tables_is_reported(folder, may, status):
    result = {"place": str(folder)}
    JobRun.objects.create(job=JOB, cycle_key="1", status="done", finished_at=timezone.now(), result=result)
    database = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"{'GRANT' if may else 'REVOKE'} TEMP ON DATABASE {database} {'TO' if may else 'FROM'} PUBLIC")
        cursor.execute("SET LOCAL ROLE pg_read_all_data")
    assert rows_of("portal_backup")["portal_backup"].status == status


@pytest.mark.parametrize(
    ("passphrase", "status"), [(f"# key\n{pyrage.x25519.Identity.generate()}", "ok"), ("secret", "warning"), (" ", "failed")]
)  # fmt: skip
def test_passphrase_instead_of_a_key_file_is_a_warning(folder, settings, passphrase, status):
    settings.PORTAL_BACKUP_PASSPHRASE = passphrase
    row = rows_of("portal_backup_key")["portal_backup_key"]
    assert (row.status, bool(row.hint)) == (status, status != "ok")


# --- A folder --------------------------------------------------------------------------------------------------------


def on_another_disk(monkeypatch, folder):
    own = Path.stat

    def stat(path, **options):
        found = own(path, **options)
        fields = list(found)
        fields[2] += 1 if path == folder else 0
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", stat)


def test_folder_on_another_disk_is_fine(folder, monkeypatch):
    on_another_disk(monkeypatch, folder)
    assert rows_of("portal_backup_folder")["portal_backup_folder"].status == "ok"
    assert list(folder.iterdir()) == []


def test_folder_on_the_disk_of_the_data_is_a_warning(folder, settings):
    settings.VIGIE_DATA_DIR = folder.parent
    row = rows_of("portal_backup_folder")["portal_backup_folder"]
    assert (row.status, "same disk" in row.detail) == ("warning", True)


def test_folder_that_is_not_mounted_is_a_failure(folder, settings):
    settings.PORTAL_BACKUP_TARGET = str(folder / "gone")
    row = rows_of("portal_backup_folder")["portal_backup_folder"]
    assert (row.status, "gone" in row.detail) == ("failed", True)


def test_folder_that_cannot_be_written_to_is_a_failure(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("portal.status.doctor.files.write_and_remove", refuse)
    assert rows_of("portal_backup_folder")["portal_backup_folder"].status == "failed"


# --- A store ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [(lambda method, path: None, "ok"), (lambda method, path: Answer(403, error="AccessDenied"), "failed"),
     (lambda method, path: Answer(403, error="AccessDenied") if "list-type" in path else None, "failed")],
    ids=["fine", "refused", "not listed"],
)  # fmt: skip
def test_store_is_asked_for_its_bucket_and_a_list(bucket, settings, fault, status):
    address, bucket.proxy.fault = bucket.address, fault
    settings.PORTAL_BACKUP_TARGET = f"s3://KEY:SECRET@{address.host}/{address.bucket}/{address.prefix}?tls=off"
    assert rows_of("portal_backup_store")["portal_backup_store"].status == status
    assert {method for method, _path in bucket.proxy.calls} <= {"HEAD", "GET"}


def test_store_is_only_called_with_the_other_connections():
    assert checks.check_store not in [check.body for check in list_checks(calls_out=False)]
    assert checks.check_store in [check.body for check in list_checks(calls_out=True)]
