"""Refuse to restore into a database or data directory that is not empty."""

from collections.abc import Collection, Iterator
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from portal.archives import secrets
from portal.archives.errors import NotEmpty
from portal.models import AuditEvent

# `migrate` alone writes these.
MIGRATED = frozenset(["django_migrations", ContentType._meta.db_table, Permission._meta.db_table])
SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")
# Its statistics, for example.
SQLITE_OWN = "sqlite_"
SHOWN = 5
RESTORED = "portal.restored"


def table_names() -> list[str]:
    """Return the tables of the database. A SQLite file that does not exist is not created."""
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return []
    with connection.cursor() as cursor:
        return connection.introspection.table_names(cursor)


def refuse_full_database() -> None:
    """Raise NotEmpty if a table has rows that `migrate` did not write. Raises DatabaseError."""
    quote, full = connection.ops.quote_name, []
    for table in table_names():
        if table not in MIGRATED and not table.startswith(SQLITE_OWN):
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {quote(table)})")  # noqa: S608 - the name of a table
                if cursor.fetchone()[0]:
                    full.append(table)
    if full:
        raise NotEmpty(f"The database is not empty: {shorten(full)} have rows. Restore into a new database.")


def shorten(names: list[str]) -> str:
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


def has_restored(subject: str) -> bool:
    """Return True if the database is the one that a restore with this subject in the audit log has filled."""
    restored = AuditEvent.objects.filter(action=RESTORED, subject=subject)
    return AuditEvent._meta.db_table in table_names() and restored.exists()


def refuse_full_directory(ignored: Collection[Path]) -> None:
    """Raise NotEmpty if a portal has a database, secrets that are not generated, or reports here. Raises OSError.

    Ignored are paths that the restore itself needs, such as the archive.
    """
    full = [path for path in list_content() if not any(path == other or path in other.parents for other in ignored)]
    if full:
        raise NotEmpty(f"The data directory is not empty: it holds {shorten(list(map(str, full)))}. Move them away.")


def list_content() -> Iterator[Path]:
    """Yield what a restore might overwrite or mix with another portal's. Deposits and stored backups stay as they are.

    A database that is not the configured one shows that a portal has lived here: its settings may have been lost.
    """
    database = settings.VIGIE_DATA_DIR / "db.sqlite3"
    if database.exists() and database.resolve() != Path(connection.settings_dict["NAME"]).resolve():
        yield database
    for path in secrets.list_entries(Path(settings.SECRETS_DIR)):
        if path.name not in secrets.GENERATED:
            yield path
    for reports in {settings.VIGIE_DATA_DIR / "reports", settings.REPORTS_ROOT}:
        yield from secrets.list_entries(reports)
