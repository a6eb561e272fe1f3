"""Stored dumps of SQLite databases, as entries with their files."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from backups.drills.outcomes import Outcome, Reason
from backups.models import BackupEntry, ExpectedBackupJob
from backups.tests.factories import make_entry, sha256


def sqlite_dump(**tables: int) -> bytes:
    """Return a dump of tables with so many rows each, as `sqlite3 .dump` writes it."""
    with sqlite3.connect(":memory:") as connection:
        for name, rows in tables.items():
            connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, name TEXT)")
            connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", [(n, f"name {n}") for n in range(rows)])
        return "\n".join(["PRAGMA foreign_keys=OFF;", *connection.iterdump()]).encode() + b"\n"


def store(job: ExpectedBackupJob, dump: bytes, ago: timedelta = timedelta(hours=1)) -> BackupEntry:
    """Store a dump, packed, as the current version of the job."""
    BackupEntry.objects.filter(job=job).update(promotion=BackupEntry.Promotion.ARCHIVED)
    content = gzip.compress(dump)
    path = Path(job.storage_folder) / "current_version" / f"{job.database_name}.sql.gz"
    stored = Path(settings.VALIDATED_ROOT) / path
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(content)
    fields = {
        "promotion": BackupEntry.Promotion.PROMOTED,
        "stored_path": str(path),
        "server_size": len(content),
        "server_sha256": sha256(content),
    }
    entry: BackupEntry = make_entry(job, ago=ago, **fields)
    return entry


def reasons_of(outcome: Outcome) -> list[Reason]:
    """Return the errors without their lines."""
    return [{key: value for key, value in error.items() if key != "line"} for error in outcome.errors]


DUMP = sqlite_dump(a=2)


def raising(error: Exception) -> Callable[..., Outcome]:
    """Return a function in place of `restore_dump`, which raises the error."""

    def refuse(*args: Any, **kwargs: Any) -> Outcome:
        raise error

    return refuse
