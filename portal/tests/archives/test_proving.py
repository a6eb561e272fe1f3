"""The restore drill of the portal's own archives, on the engine of its database."""

import sqlite3
from contextlib import closing

import pyrage
import pytest
from django.contrib.auth.models import User
from django.db import DataError

from portal.archives import making
from portal.archives.making import make_archive, working_alone
from portal.archives.passphrases import Passphrase

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
