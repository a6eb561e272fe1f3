"""A consistent copy of the database while the portal runs, as a SQLite file, whichever database it is."""

import sqlite3
from contextlib import closing
from pathlib import Path

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connection, connections, transaction
from django_q.models import OrmQ

from portal.archives import rows
from portal.archives.errors import ArchiveError
from portal.archives.files import applied_migrations, migrate_file, open_database
from portal.status.health import unapplied_migrations
from portal.tasks import ERASE
from portal.work.queue import unpack_payload


def database_size() -> int:
    """Return the bytes that the database has on its disk. Raises DatabaseError."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(cursor.fetchone()[0])


def take_snapshot(path: Path) -> None:
    """Write the database into a new file. Raises DatabaseError, sqlite3.Error, ArchiveError, OSError."""
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=20)) as source:
            source.execute("VACUUM INTO ?", [str(path)])
    else:
        copy_to_file(path)
    with open_database(path) as alias:
        drop_transient_rows(alias)


def copy_to_file(path: Path) -> None:
    """Copy all rows of one snapshot of PostgreSQL. Raises ArchiveError if its tables are not those of this version."""
    if unapplied_migrations():
        raise ArchiveError("The database is not migrated to this version of the portal. Run `manage.py prepare`.")
    migrate_file(path)
    with open_database(path) as alias:
        if applied_migrations(alias) != applied_migrations("default"):
            raise ArchiveError("The database is of a later version of the portal. Back it up with that version.")
        with transaction.atomic(), connections[alias].constraint_checks_disabled(), transaction.atomic(alias):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # `migrate` writes content types and permissions.
            rows.empty_tables(alias, rows.all_models())
            for model in rows.all_models():
                rows.copy_rows(model, "default", alias)
            connections[alias].check_constraints()


def drop_transient_rows(alias: str) -> None:
    """Delete what must not come back with a restored database, nor be readable in the file.

    Sessions: one that was ended meanwhile would be open again. Queued tasks: their schedules queue them again, except
    for erasures, which nobody would ask for again.
    """
    queued = OrmQ.objects.using(alias)
    kept = [row.pk for row in queued if unpack_payload(row).get("args", ())[:1] == (ERASE,)]
    with connections[alias].cursor() as cursor:
        cursor.execute("PRAGMA secure_delete=ON")
    queued.exclude(pk__in=kept).delete()
    rows.empty_tables(alias, [Session, UserSession])
