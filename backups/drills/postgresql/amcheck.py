"""Check restored tables and indexes with pg_amcheck, where it is installed beside a private server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from backups.drills.outcomes import Reason

# Its connections are a superuser's, so it may touch only a private server.
CHECKED = (
    "--install-missing",
    "--exclude-schema=pg_catalog",
    "--exclude-schema=information_schema",
    "--no-strict-names",
)
PROBLEM = re.compile(r'^(heap table|btree index|relation) "[^.]*\.(.*?)"[,:]', re.MULTILINE)


def find_problems(program: Path, login: Sequence[str], databases: Sequence[str], seconds: float) -> Iterator[Reason]:
    """Yield the tables and indexes that are damaged, without what pg_amcheck says of their rows."""
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
            return
        for found in dict.fromkeys(PROBLEM.findall(run.stdout)):
            yield {"code": "object_damaged", "kind": found[0], "name": found[1]}
