"""Scan deposits as of a time in the past, and restore what was stored. Each line of the input is one call as JSON."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from backups.drills import runs
from backups.models import DrillAssertion, ExpectedBackupJob
from backups.scanner import orchestration


def scan(time: str, agent: str) -> None:
    orchestration.scan_now(datetime.fromisoformat(time), agent)


def restore(agent: str, database: str) -> None:
    """Restore the current version now."""
    with runs.exclusive_run() as run:
        runs.drill_job(find_job(agent, database), run)


def request_drill(agent: str, database: str) -> None:
    """Have a worker restore the current version."""
    runs.request_drills([find_job(agent, database)])


def add_assertion(agent: str, database: str, name: str, query: str, comparison: str, expected: str) -> None:
    fields = {"query": query, "comparison": comparison, "expected": expected}
    DrillAssertion.objects.get_or_create(job=find_job(agent, database), name=name, defaults=fields)


def find_job(agent: str, database: str) -> ExpectedBackupJob:
    return ExpectedBackupJob.objects.get(agent_id=agent, database_name=database)


CALLS = {function.__name__: function for function in (scan, restore, request_drill, add_assertion)}


def main() -> None:
    """Carry out each call, and print `done` after each."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        CALLS[name](*arguments)
        sys.stdout.write("done\n")
        sys.stdout.flush()
