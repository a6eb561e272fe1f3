"""`manage.py doctor`: check the installation, and say how to fix what is wrong."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.status.doctor.report import format_json, format_text
from portal.status.doctor.runs import list_checks, run_checks, worst_status


class Command(BaseCommand):
    help = (
        "Checks settings, database, workers, disks, mail and more, and says how to fix what is wrong. Changes nothing. "
        "The exit status is 1 if a check failed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = run_checks(list_checks(calls_out=True))
        entries = [row.as_json() for row in rows]
        self.stdout.write(format_json(entries) if options["json"] else format_text(entries))
        if worst_status(rows) == "failed":
            sys.exit(1)
