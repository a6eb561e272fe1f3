"""Restore an archive into a sandbox and compare what came back with its manifest: the restore drill of the portal."""

from pathlib import Path

from django.db import connections

from portal.archives import manifest
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
    if count_rows(alias) != described.rows:
        raise AlteredArchive("The rows of the archive's database are not those of its manifest.")
