import sqlite3
from contextlib import closing

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from portal.archives import making, rows
from portal.archives.files import ALIAS
from portal.archives.targets import Folder
from portal.tests.helpers.stores import bucket as bucket
from portal.tests.helpers.stores import s3_port as s3_port


@pytest.fixture
def archive_database(db, monkeypatch):
    """Let the test open files of archives: Django allows a test no database but those of the settings."""
    refuse_others = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(self):
        if self.alias != ALIAS:
            refuse_others(self)
        elif self.connection is None:
            with self.wrap_database_errors:
                self.connect()

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", ensure_connection)


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return Folder(tmp_path / "target")


@pytest.fixture
def data(tmp_path, settings):
    """A data directory of the test's own."""
    settings.VIGIE_DATA_DIR = tmp_path / "data"
    settings.SECRETS_DIR, settings.REPORTS_ROOT = tmp_path / "data/secrets", tmp_path / "data/reports"
    for folder in (settings.SECRETS_DIR, settings.REPORTS_ROOT):
        folder.mkdir(parents=True)
    return settings.VIGIE_DATA_DIR


@pytest.fixture
def quick_snapshot(monkeypatch):
    """A snapshot and its restore take seconds on PostgreSQL; most tests need any database."""

    def write(path):
        with closing(sqlite3.connect(path)) as file:
            file.execute("CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app, name, applied)")
            file.commit()

    monkeypatch.setattr(making, "take_snapshot", write)
    monkeypatch.setattr(rows, "all_models", list)
