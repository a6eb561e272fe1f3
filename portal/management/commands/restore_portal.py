"""`manage.py restore_portal`: fill the configured, empty database and data directory from an archive."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.archives.errors import report_archive_errors
from portal.archives.passphrases import read_passphrase
from portal.archives.restoring import restore_archive
from portal.archives.targets import fetch_archive


class Command(BaseCommand):
    help = (
        "Restores an archive of backup_portal into the configured, empty database and data directory, "
        "whichever database it was made from. Exit status: 3 wrong passphrase, 4 altered archive, "
        "5 database or directory not empty, 6 archive of a newer version."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "archive", metavar="ARCHIVE", help="a file, a name in PORTAL_BACKUP_TARGET, or an address s3://…/NAME"
        )
        parser.add_argument(
            "--passphrase-file",
            type=Path,
            required=True,
            metavar="FILE",
            help="the file that the archive was made with",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with report_archive_errors():
            passphrase = read_passphrase(options["passphrase_file"])
            with fetch_archive(options["archive"]) as archive:
                described = restore_archive(archive, passphrase, options["passphrase_file"])
        rows = sum(described.rows.values())
        self.stdout.write(f"Restored the backup of {described.created_at} of {described.host}: {rows} rows.")
        self.stderr.write("Next: run `prepare`, then start the portal. Everyone has to sign in again.")
