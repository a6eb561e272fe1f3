"""Disks that fill up: measurement, findings before they are full, and the error when they are."""

import errno
import os
import sqlite3
from types import SimpleNamespace

import psycopg
import pytest
from django.db import OperationalError
from django.utils import timezone

from portal.api.errors import as_problem
from portal.base import disks
from portal.base.findings import Severity
from portal.desk import findings
from portal.status import metrics

pytestmark = pytest.mark.django_db
MIB = disks.MIB


@pytest.fixture
def left(monkeypatch):
    """Return a function that sets the free space of every disk."""

    def leave(free, inodes=1):
        found = SimpleNamespace(f_blocks=10 * MIB, f_frsize=1024, f_bavail=free // 1024, f_files=9, f_favail=inodes)
        monkeypatch.setattr(os, "statvfs", lambda folder: found)

    return leave


def test_missing_folder_is_on_the_disk_of_its_parent(tmp_path):
    assert disks.find_disk(tmp_path / "a" / "b").size == disks.find_disk(tmp_path).size


def test_disk_is_listed_once_with_its_topmost_folders(settings, tmp_path, left):
    settings.VIGIE_DATA_DIR = settings.REPORTS_ROOT = tmp_path
    settings.DEPOSITS_ROOT, settings.VALIDATED_ROOT = tmp_path / "deposits", tmp_path / "validated"
    left(MIB)
    assert disks.list_disks()[0].folders[0] == tmp_path
    assert tmp_path / "deposits" not in disks.list_disks()[0].folders


@pytest.mark.parametrize(
    ("free", "inodes", "severity", "words"),
    [(2048 * MIB, 1, None, ""), (2047 * MIB, 1, Severity.WARNING, "only 2.0\xa0GB left"),
     (255 * MIB, 1, Severity.CRITICAL, "only 255.0\xa0MB left"), (1023 * 1024, 1, Severity.CRITICAL, "is full"),
     (9999 * MIB, 0, Severity.CRITICAL, "is full")],
)  # fmt: skip
def test_nearly_full_disk_is_a_finding(left, free, inodes, severity, words):
    left(free, inodes)
    found = list(findings.full_disks(timezone.now()))
    assert [one.severity for one in found] == [severity] * len(found)
    assert all(words in one.text for one in found)
    assert bool(found) is (severity is not None)


def test_free_space_is_measured_by_folder(left):
    left(3 * MIB)
    free, _size = metrics.disk_space(timezone.now())
    measured = {sample.labels["folder"]: sample.value for sample in free.samples}
    assert measured == dict.fromkeys(disks.watched_folders(), 3 * MIB)
    assert {"data", "deposits", "validated", "reports"} <= measured.keys()


def test_full_disk_makes_the_portal_unready(client, left):
    left(0)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["code"], answer.json()["checks"]["disk"]) == (503, "disk_full", "full")
    assert "The disk is full." in answer.json()["detail"]


def full_sqlite(tmp_path):
    """Return the error that Python raises when an SQLite database cannot grow."""
    with sqlite3.connect(tmp_path / "small.sqlite3") as small:
        small.execute("CREATE TABLE t (x)")
        small.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as raised:
            small.execute("INSERT INTO t VALUES (zeroblob(100000))")
    return raised.value


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_call_on_a_full_disk_is_refused_with_its_code(tmp_path, database):
    cause = full_sqlite(tmp_path) if database == "sqlite" else psycopg.errors.DiskFull()
    error = OperationalError("could not write")
    error.__cause__ = cause
    problem = as_problem(error)
    assert (problem.status, problem.code, problem.headers) == (503, "disk_full", {"Retry-After": "60"})
    assert disks.describe_error(error) == "the disk is full"


@pytest.mark.parametrize(
    ("error", "is_meant"),
    [(OSError(errno.EDQUOT, ""), True), (OSError(errno.EIO, ""), False), (psycopg.OperationalError("gone"), False)],
)
def test_only_errors_of_a_full_disk_are_recognised(error, is_meant):
    assert disks.means_full(error) is is_meant


def test_unwritable_sqlite_counts_as_full_only_on_a_full_disk(left):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = 778
    for free, is_meant in ((9 * MIB, False), (0, True)):
        left(free)
        assert disks.means_full(error) is is_meant
