"""`manage.py rebuild_rollups`: count the hourly rollups again from the runs, all of them or those of a period."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.management.options import parse_moment
from portal.work.jobs import AlreadyRunning
from usage import rollups


class Command(BaseCommand):
    help = "Counts the hourly rollups again from the runs and prints the hours that differed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", metavar="ISO", help="from the hour of this time on")
        parser.add_argument("--until", metavar="ISO", help="up to the hour before this time")

    def handle(self, *args: Any, **options: Any) -> None:
        given = ((name, options[name]) for name in ("since", "until"))
        since, until = (parse_moment(f"--{name}", text) if text else None for name, text in given)
        try:
            corrected = rollups.rebuild(since, until, self.print_hour)
        except AlreadyRunning:
            raise CommandError("Runs are being counted right now; try again in a minute.") from None
        done = f"{corrected} rollups differed from their runs and were corrected." if corrected else "No differences."
        self.stdout.write(done)

    def print_hour(self, hour: datetime, count: int) -> None:
        self.stderr.write(f"{hour:%Y-%m-%d %H:00} UTC: {count}")
