"""`manage.py scan_backups`: looks at the expected backups now, in this process."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from backups.models import ExpectedBackupJob
from backups.scanner import orchestration
from portal.management.options import parse_moment


class Command(BaseCommand):
    help = "Looks at the expected backups now: verifies, records, promotes, tells."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--at", metavar="ISO", help="takes the place of now")
        parser.add_argument("--agent", metavar="ID", default="", help="this machine alone")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        now = parse_moment("--at", options["at"]) if options["at"] else timezone.now()
        agent = options["agent"]
        if agent and not ExpectedBackupJob.objects.of(agent).exists():
            raise CommandError("No backup is expected of that machine.")
        started = time.monotonic()
        scan, outcome = orchestration.scan_now(now, agent)
        if scan.root_is_missing:
            raise CommandError("The deposit root is not there: nothing was looked at.")
        duration = round((time.monotonic() - started) * 1000)
        if options["json"]:
            body = {"results": outcome.results, "duration_ms": duration, "bytes_hashed": outcome.bytes_hashed}
            self.stdout.write(json.dumps(body))
        else:
            for line in outcome.results:
                self.stdout.write(as_line(line))
            self.stderr.write(
                f"{len(outcome.results)} cycles, {outcome.bytes_hashed} bytes hashed, {duration} ms,"
                f" {outcome.errors} errors"
            )
        if outcome.errors:
            raise CommandError("Not all of it could be looked at; the log says why.")


def as_line(result: dict[str, Any]) -> str:
    marks = [*(["late"] if result["late"] else []), *result["warnings"], *(["stored"] if result["promoted"] else [])]
    name = f"{result['agent_id']} {result['database_name']}"
    return f"{result['cycle_at']}  {result['status']:<25}  {name}  {', '.join(marks)}".rstrip()
