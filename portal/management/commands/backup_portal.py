"""`manage.py backup_portal`: one encrypted archive of the database, secrets and reports, while the portal runs."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.archives.errors import report_archive_errors
from portal.archives.making import make_archive, working_alone
from portal.archives.passphrases import read_passphrase
from portal.archives.records import record_archive
from portal.archives.targets import open_target


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


class Command(BaseCommand):
    help = (
        "Backs up the portal while it runs: database, secrets and reports in one encrypted archive. "
        "Prints the archive's name."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", metavar="TARGET", help="a folder, or an address s3://…")
        parser.add_argument(
            "--passphrase-file", type=Path, required=True, metavar="FILE", help="holds a passphrase, or an age key"
        )
        parser.add_argument(
            "--keep", type=at_least_one, metavar="N", help="delete all but the newest N archives of this portal"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with report_archive_errors():
            passphrase = read_passphrase(options["passphrase_file"])
            target = open_target(options["target"])
            with working_alone() as scratch:
                archive = make_archive(target, passphrase, scratch, options["keep"])
            record_archive(archive)
        self.stderr.write(
            "Not included: uploads and stored backups of machines (DEPOSITS_ROOT, VALIDATED_ROOT), and your settings."
        )
        if archive.not_deleted:
            self.stderr.write(f"The backup was made, but other files could not be deleted: {archive.not_deleted}")
        self.stdout.write(archive.name)
