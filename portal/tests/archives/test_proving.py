"""The restore drill of the portal's own archives, on the engine of its database."""

import sqlite3
from contextlib import closing

import pyrage
import pytest
from django.contrib.auth.models import User
from django.db import DataError, connection

from portal.archives import making, rows, snapshots
from portal.archives.errors import AlteredArchive, ArchiveError
from portal.archives.making import make_archive, working_alone
from portal.archives.passphrases import Passphrase
from portal.models import JobRun

KEY = Passphrase("", pyrage.x25519.Identity.generate())


@pytest.fixture
def make(target, data, archive_database, transactional_db):
    def making_one():
        with working_alone() as scratch:
            return make_archive(target, KEY, scratch)

    return making_one


def test_proven_archive_has_left_the_portals_own_rows_alone(make):
    alice = User.objects.create_user("alice")
    assert make().manifest.rows["auth_user"] == 1
    assert User.objects.get() == alice
    assert User.objects.create_user("bob").pk == alice.pk + 1


@pytest.mark.postgresql("SQLite takes texts of any length")
def test_row_that_postgresql_refuses_fails_the_backup(make, target, monkeypatch):
    take_snapshot = making.take_snapshot

    def alter(path):
        take_snapshot(path)
        with closing(sqlite3.connect(path)) as file:
            file.execute("UPDATE auth_user SET username = ?", ["x" * 200])
            file.commit()

    User.objects.create_user("alice")
    monkeypatch.setattr(making, "take_snapshot", alter)
    with pytest.raises(DataError):
        make()
    assert (target.names(), User.objects.get().username) == ([], "alice")


@pytest.mark.postgresql("SQLite's file is opened as it is")
def test_trial_takes_no_more_of_the_servers_disk_than_its_largest_table(make, monkeypatch):
    filled, copy_rows = [], rows.copy_rows

    def copy(model, source, target):
        if target == "default":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT coalesce(sum(pg_relation_size(oid)), 0) FROM pg_class"
                    " WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'"
                )
                filled.append(cursor.fetchone()[0])
        return copy_rows(model, source, target)

    User.objects.create_user("alice")
    monkeypatch.setattr(rows, "copy_rows", copy)
    make()
    assert (len(filled), sum(filled)) == (len(rows.all_models()), 0)


@pytest.mark.postgresql("SQLite's file is opened as it is")
@pytest.mark.parametrize("model", [User, JobRun])
def test_row_that_postgresql_does_not_keep_fails_the_backup(make, target, monkeypatch, model):
    copy_rows = rows.copy_rows

    def copy(copied, source, target):
        count = copy_rows(copied, source, target)
        if (copied, target) == (model, "default"):
            with connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {model._meta.db_table}")
        return count

    User.objects.create_user("alice")
    JobRun.objects.create(job="j", cycle_key="c")
    monkeypatch.setattr(rows, "copy_rows", copy)
    with pytest.raises(AlteredArchive):
        make()
    assert target.names() == []


@pytest.mark.postgresql("SQLite's file is copied as it is")
def test_database_that_is_not_migrated_is_refused_before_anything_is_copied(make, monkeypatch):
    monkeypatch.setattr(snapshots, "unapplied_migrations", lambda: ["portal.9999_later"])
    monkeypatch.setattr(snapshots, "migrate_file", None)
    with pytest.raises(ArchiveError, match="prepare"):
        make()


@pytest.mark.one_database("PostgreSQL's is refused")
def test_database_that_lacks_a_table_of_this_version_is_archived_as_it_is(make, monkeypatch):
    take_snapshot = making.take_snapshot

    def alter(path):
        take_snapshot(path)
        with closing(sqlite3.connect(path)) as file:
            file.execute("DROP TABLE portal_preferences")

    monkeypatch.setattr(making, "take_snapshot", alter)
    assert "portal_preferences" not in make().manifest.rows
