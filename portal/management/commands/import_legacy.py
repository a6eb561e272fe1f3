"""`manage.py import_legacy`: import data of older tools, or print what that would do."""

import json
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import translation

from portal.base import disks
from portal.legacy.registry import ImportOptions
from portal.legacy.running import import_files
from portal.legacy.wording import format_reports
from portal.work.jobs import AlreadyRunning, LeaseLost

BUSY = "A background job holds what the import needs. Run the command again: it continues."


class Command(BaseCommand):
    help = (
        "Imports machines, feedback, runs, rounds of checks and backups from files of older tools, which it recognizes "
        "by their content. Without --apply, it only prints what would change. The exit status is 1 if anything could "
        "not be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="SQLite databases, JSONL and CSV files")
        parser.add_argument("--apply", action="store_true", help="write; a second time changes nothing")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
        parser.add_argument(
            "--timezone", default="UTC", metavar="ZONE", help="time zone of times that name none, such as Europe/Paris"
        )
        parser.add_argument("--url", default="", metavar="BASE", help="the address below which old rounds checked")
        parser.add_argument("--programme", default="", metavar="NAME", help="the beta programme that feedback is for")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = ImportOptions(
            applies=options["apply"],
            zone=read_zone(options["timezone"]),
            base_url=options["url"],
            programme=options["programme"],
        )
        try:
            with translation.override("en"):
                reports = import_files(options["paths"], chosen)
        except (AlreadyRunning, LeaseLost):
            raise CommandError(BUSY) from None
        except DatabaseError as error:
            text = "the disk is full" if disks.means_full(error) else str(error).strip()
            raise CommandError(f"The database refused: {text}. Run the command again: it continues.") from None
        if options["json"]:
            found = {"applied": options["apply"], "files": [report.as_json() for report in reports]}
            self.stdout.write(json.dumps(found, indent=2))
        else:
            self.stdout.write(format_reports(reports, applied=options["apply"]))
        if not all(report.is_whole for report in reports):
            sys.exit(1)


def read_zone(name: str) -> ZoneInfo:
    """Return the time zone. Raises CommandError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # KeyError for an unknown one
        raise CommandError("--timezone must be a name such as Europe/Paris or UTC.", returncode=2) from None
