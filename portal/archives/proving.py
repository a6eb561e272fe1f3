"""Restore an archive into a sandbox and compare what came back with its manifest: the restore drill of the portal.

The sandbox is a folder. On PostgreSQL, the rows are then copied into temporary tables, as a restore would copy them.
"""

from pathlib import Path

from django.db import connection, connections, transaction

from portal.archives import manifest, rows
from portal.archives.contents import unpack
from portal.archives.errors import AlteredArchive
from portal.archives.files import applied_migrations, count_rows, open_database
from portal.archives.manifest import Manifest
from portal.archives.passphrases import Passphrase


def prove_archive(path: Path, passphrase: Passphrase, sandbox: Path) -> Manifest:
    """Raises ArchiveError, OSError, DatabaseError if the archive could not be restored."""
    described = unpack(path, passphrase, sandbox)
    with open_database(sandbox / manifest.DATABASE) as alias:
        check_database(alias, described)
        if connection.vendor == "postgresql":
            try_copying(alias)
    return described


def check_database(alias: str, described: Manifest) -> None:
    """Raises AlteredArchive if the database is damaged, or not the one of the manifest."""
    with connections[alias].cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        damage = [line for (line,) in cursor.fetchall() if line != "ok"]
        cursor.execute("PRAGMA foreign_key_check")
        damage += [f"a row of {table} refers to none of {other}" for table, _, other, _ in cursor.fetchall()]
    if damage:
        raise AlteredArchive(f"The database of the archive is corrupted: {damage[0]}.")
    if applied_migrations(alias) != described.migrations:
        raise AlteredArchive("The migrations of the archive's database are not those of its manifest.")
    if count_rows(alias, described.rows) != described.rows:
        raise AlteredArchive("The rows of the archive's database are not those of its manifest.")


def try_copying(alias: str) -> None:
    """Copy all rows into temporary tables of PostgreSQL, one after the other: each is emptied once it is counted.

    References between tables are checked in the file: temporary tables have columns, constraints and indexes only.
    Raises AlteredArchive, DatabaseError.
    """
    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        for table in map(quote, rows.model_tables()):
            cursor.execute(f"CREATE TEMPORARY TABLE {table} (LIKE {table} INCLUDING ALL)")
        cursor.execute("SET LOCAL search_path = pg_temp")  # no statement reaches the portal's own tables
        for model in rows.all_models():
            name = model._meta.db_table
            rows.copy_rows(model, alias, "default")
            if not have_same_rows(alias, [name]):
                raise AlteredArchive("Not every row of the archive can be copied to PostgreSQL.")
            # Frees the disk at once, unlike DROP: the table is of the same transaction.
            cursor.execute(f"TRUNCATE {quote(name)}")
        transaction.set_rollback(True)


def have_same_rows(alias: str, tables: list[str]) -> bool:
    """Return True if the tables have as many rows in the file as in the default database."""
    return count_rows("default", tables) == count_rows(alias, tables)
