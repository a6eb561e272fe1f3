"""Check restored tables and indexes with pg_amcheck, where it is installed beside a private server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from backups.drills.outcomes import Outcome, Reason

# Its connections are a superuser's, so it may touch only a private server.
CHECKED = (
    "--install-missing",
    "--exclude-schema=pg_catalog",
    "--exclude-schema=information_schema",
    "--no-strict-names",
)
PROBLEM = re.compile(r'^(heap table|btree index|relation) "[^.]*\.(.*?)"[,:]', re.MULTILINE)


IS_AVAILABLE = b"SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'"
# Its exit status says that it has checked everything: no damage, or some.
CHECKED_ALL = (0, 2)


class NotChecked(Exception):
    """pg_amcheck failed or took too long."""


def check_for_damage(
    outcome: Outcome, program: Path, login: Sequence[str], databases: Sequence[str], seconds: float
) -> None:
    """Add each damaged table and index as an error, and a warning if they could not be checked."""
    try:
        for problem in find_problems(program, login, databases, seconds):
            outcome.fail(problem)
    except NotChecked:
        outcome.warn("damage_not_checked")


def find_problems(program: Path, login: Sequence[str], databases: Sequence[str], seconds: float) -> Iterator[Reason]:
    """Yield the tables and indexes that are damaged, without what pg_amcheck says of their rows. Raises NotChecked."""
    if not program.exists():
        return
    for database in databases:
        try:
            run = subprocess.run(
                [program, *CHECKED, *login, database],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise NotChecked from None
        if run.returncode not in CHECKED_ALL:
            raise NotChecked
        for found in dict.fromkeys(PROBLEM.findall(run.stdout)):
            yield {"code": "object_damaged", "kind": found[0], "name": found[1]}
