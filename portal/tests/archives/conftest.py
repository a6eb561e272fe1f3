import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from portal.archives.files import ALIAS


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
