"""Restore stored dumps now, in this process: `manage.py drill`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import override

from backups.drills import proofs, runs
from backups.drills.outcomes import PROVEN, Outcome, SandboxUnavailable
from backups.models import ExpectedBackupJob, RestoreDrill
from backups.reasons import format_error, format_reasons
from portal.base.moments import format_iso_seconds
from portal.work.jobs import AlreadyRunning


class Command(BaseCommand):
    help = "Restore stored backups into a sandbox, and report what came back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--agent", metavar="ID", default="", help="backups of this machine only")
        parser.add_argument("--database", metavar="NAME", default="", help="backups of databases of this name only")
        parser.add_argument("--file", metavar="PATH", type=Path, help="restore this file, and record nothing")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    @override("en")
    def handle(self, *args: Any, **options: Any) -> None:
        if options["file"] and (options["agent"] or options["database"]):
            raise CommandError("--file goes with neither --agent nor --database.")
        unavailable: dict[str, str] = {}
        try:
            if options["file"]:
                rows = list_file(options["file"])
            else:
                rows = list_jobs(options["agent"], options["database"], unavailable)
        except SandboxUnavailable as error:
            rows, unavailable = [], {error.engine: format_error(error.why)}
        except AlreadyRunning:
            raise CommandError("Another drill is running. Try again when it has ended.") from None
        if options["json"]:
            self.stdout.write(json.dumps({"results": rows}))
        else:
            for row in rows:
                self.stdout.write(format_row(row))
        if unavailable:
            raise CommandError(
                "\n".join(
                    f"The sandbox for {engine} can’t be used: {why}" if engine else why
                    for engine, why in unavailable.items()
                )
            )
        if any(row["status"] != PROVEN for row in rows):
            raise CommandError("Not every backup is proven.")


def list_file(path: Path) -> list[dict[str, Any]]:
    try:
        outcome = runs.restore_file(path)
    except OSError as error:
        raise CommandError(f"{path} can’t be read: {error.strerror}.") from None
    return [result_row(outcome) | {"agent_id": None, "database_name": None, "cycle_at": None}]


def list_jobs(agent: str, database: str, unavailable: dict[str, str]) -> list[dict[str, Any]]:
    """Drill the current version of each job, one after the other, and return their rows. Raises AlreadyRunning.

    `unavailable` gets the sandboxes that cannot be used, with the reason.
    """
    jobs = ExpectedBackupJob.objects.of_machine(agent).filter(runs.stored_version())
    if database:
        jobs = jobs.filter(database_name=database)
    if not jobs.exists():
        raise CommandError("There is no stored backup to restore.")
    rows = []
    with runs.exclusive_run() as run:
        for job in jobs.order_by("agent_id", "database_name"):
            try:
                drill = runs.drill_job(job, run)
            except SandboxUnavailable as error:
                unavailable[error.engine] = format_error(error.why)
                continue
            if drill is not None:
                rows.append(drill_row(drill))
    return rows


def drill_row(drill: RestoreDrill) -> dict[str, Any]:
    return {
        "agent_id": drill.job.agent_id,
        "database_name": drill.job.database_name,
        "cycle_at": format_iso_seconds(drill.entry.cycle_at),
        **result_row(drill),
    } | {"warnings": [format_reasons([why]) for why in [*drill.warnings, *proofs.changes(drill)]]}


def result_row(result: RestoreDrill | Outcome) -> dict[str, Any]:
    return {
        "engine": result.engine or None,
        "status": result.status,
        "duration_ms": result.duration_ms,
        "tables": len(result.rows),
        "rows": result.rows,
        "errors": [{"line": error["line"], "message": format_error(error)} for error in result.errors],
        "warnings": [format_reasons([warning]) for warning in result.warnings],
        "assertions": [{key: found[key] for key in ("name", "ok", "value")} for found in result.assertions],
    }


def format_row(row: dict[str, Any]) -> str:
    name = f"{row['agent_id']} {row['database_name']}" if row["agent_id"] else ""
    counts = f"{row['tables']} tables, {sum(row['rows'].values())} rows, {row['duration_ms']} ms"
    first = f"{row['status']:<12} {row['engine'] or '?':<11} {name}  {counts}".rstrip()
    return "\n".join([first, *(f"    {problem}" for problem in list_problems(row))])


def list_problems(row: dict[str, Any]) -> Iterator[str]:
    for error in row["errors"]:
        yield f"line {error['line']}: {error['message']}" if error["line"] else error["message"]
    yield from row["warnings"]
    yield from (f"Assertion “{found['name']}” failed." for found in row["assertions"] if not found["ok"])
