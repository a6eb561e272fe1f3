"""Scan the expected backups now, in this process: `manage.py scan_backups`."""

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
    help = "Scan the upload area now: verify, record and store backups, and notify."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--at", metavar="ISO", help="use this time instead of now")
        parser.add_argument("--agent", metavar="ID", default="", help="scan this machine only")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        now = parse_moment("--at", options["at"]) if options["at"] else timezone.now()
        agent = options["agent"]
        if agent and not ExpectedBackupJob.objects.of_machine(agent).exists():
            raise CommandError("There are no expected backups for this machine.")
        started = time.monotonic()
        scan, result = orchestration.scan_now(now, agent)
        if scan.root_is_missing:
            raise CommandError("The upload area is unavailable: nothing was scanned.")
        duration = round((time.monotonic() - started) * 1000)
        if options["json"]:
            body = {"results": result.rows, "duration_ms": duration, "bytes_hashed": result.bytes_hashed}
            self.stdout.write(json.dumps(body))
        else:
            for row in result.rows:
                self.stdout.write(format_row(row))
            self.stderr.write(
                f"{len(result.rows)} cycles, {result.bytes_hashed} bytes hashed, {duration} ms, {result.errors} errors"
            )
        if result.errors:
            raise CommandError("Not all machines could be scanned; see the log.")


def format_row(row: dict[str, Any]) -> str:
    marks = [*(["late"] if row["late"] else []), *row["warnings"], *(["stored"] if row["promoted"] else [])]
    name = f"{row['agent_id']} {row['database_name']}"
    return f"{row['cycle_at']}  {row['status']:<25}  {name}  {', '.join(marks)}".rstrip()
