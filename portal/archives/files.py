"""SQLite files that hold every table: how one is migrated, opened beside the portal's own database, and described."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from portal.archives.errors import ArchiveError
from portal.base.env import SQLITE

ALIAS = "archive"
MIGRATIONS = MigrationRecorder.Migration._meta.db_table
# The file is made anew after whatever ends the process, so nothing needs to be safe before that.
QUICK = "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF;"


def migrate_file(path: Path) -> None:
    """Bring the tables of a SQLite file, which may be new, to this version. Raises ArchiveError.

    A process of its own has the file as its only database: migrations of data change the default one, whichever is
    being migrated. It also has a data directory of its own, so that it generates no secret in another.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL_FILE"}
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "migrate", "--no-input", "--verbosity=0"]
    with tempfile.TemporaryDirectory(dir=path.parent) as data:
        own = {"DATABASE_URL": f"sqlite:///{quote(str(path))}", "VIGIE_DATA_DIR": data}
        done = subprocess.run(command, env=inherited | own, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ArchiveError(f"The tables of the archive could not be migrated: {why}")


@contextmanager
def open_database(path: Path) -> Iterator[str]:
    """Yield the alias under which models read and write the tables of the file."""
    own = {"ENGINE": SQLITE, "NAME": str(path), "OPTIONS": {"init_command": QUICK}}
    connections.databases[ALIAS] = connections.configure_settings({"default": own})["default"]
    try:
        yield ALIAS
    finally:
        connections[ALIAS].close()
        del connections[ALIAS], connections.databases[ALIAS]


def count_rows(alias: str, tables: Iterable[str]) -> dict[str, int]:
    """Return the number of rows of each table. Raises DatabaseError."""
    connection, counts = connections[alias], {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")  # noqa: S608 - its name
            counts[table] = int(cursor.fetchone()[0])
    return counts


def applied_migrations(alias: str) -> list[str]:
    return sorted(f"{app}.{name}" for app, name in MigrationRecorder(connections[alias]).applied_migrations())
