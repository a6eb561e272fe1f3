"""Files as older tools left them, and the command that imports them."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management import call_command

MACHINES = (
    "machine_id", "user_name", "user_email", "user_id", "hostname", "os_info", "version", "status", "enrolled_at",
    "last_seen_at", "uninstalled_at", "uninstall_reason",
)  # fmt: skip
FEEDBACK = ("type", "severity", "nps_score", "comment", "created_at")
TABLES = {"enrolled_agents": MACHINES, "beta_feedback": FEEDBACK}


def make_database(path: Path, table: str, rows: Iterable[dict[str, Any]]) -> Path:
    """Add the rows to the table of an SQLite database. Columns that a row leaves out are NULL."""
    columns = TABLES[table]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")
        values = ([row.get(name) for name in columns] for row in rows)
        database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", values)
    return path


def machine(machine_id: Any, **fields: Any) -> dict[str, Any]:
    return {"machine_id": machine_id, "status": "active", "enrolled_at": "2024-03-01 10:00:00", **fields}


def write_lines(path: Path, lines: Iterable[Any]) -> Path:
    """Write JSON lines; texts are written as they are."""
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def run_import(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    """Run `import_legacy --json`. Return its exit status and what it says of each file."""
    output, status = io.StringIO(), 0
    try:
        call_command("import_legacy", *map(str, arguments), "--json", stdout=output)
    except SystemExit as end:
        status = int(str(end.code))
    return status, json.loads(output.getvalue())["files"]


def import_one(*arguments: object) -> dict[str, Any]:
    """Run `import_legacy --json` on one file with one kind of data, and return the report of that."""
    _status, (file,) = run_import(*arguments)
    assert file["error"] is None, file
    (report,) = file["imports"]
    return dict(report)


def effects(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["created"], report["updated"], report["unchanged"]


def rows_by_code(reasons: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the rows of `skipped` or `unreadable` by the code of their reason."""
    return {reason["code"]: reason["rows"] for reason in reasons}
