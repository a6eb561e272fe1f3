"""`manage.py migrate` beside a reader that keeps a table in use."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from portal.tests.helpers.portal_process import Portal, database
from portal.tests.helpers.waiting import PATIENCE, wait_for
from tests.upgrade.dumps import load

pytestmark = [pytest.mark.slow, pytest.mark.each_database]


@pytest.mark.postgresql("SQLite has no locks of tables")
def test_migration_of_a_table_in_use_is_tried_again_and_blocks_no_reader(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with database(tmp_path) as url:
        load("d5adac3", url)
        portal = Portal(tmp_path, url)
        with psycopg.connect(url) as reader, open(log, "w") as file:
            reader.execute("SELECT FROM backups_expectedbackupjob")  # a long transaction, such as an export
            migrating = subprocess.Popen(portal.command("migrate"), env=portal.environment, stdout=file, stderr=file)
            wait_for("the migration has given way", lambda: "A table is in use" in log.read_text(), PATIENCE)
            assert portal.sql("SELECT count(*) FROM backups_expectedbackupjob") == [(2,)]
            assert migrating.poll() is None
        assert migrating.wait(PATIENCE) == 0, log.read_text()
        assert portal.sql("SELECT count(*) FROM django_migrations WHERE app = 'backups'")[0][0] > 10
