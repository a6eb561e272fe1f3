"""What became of each database: for the portal, which judges by it, and for the caller."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from vigie_client.deposits.dumps import Dump
from vigie_client.deposits.packing import Packed
from vigie_client.http.times import format_utc

_NEVER = datetime.fromtimestamp(0, timezone.utc)


@dataclass
class Backup:
    """One database on its way: dumped into `part` as `packed`, or `dump_error`; delivered, or `transfer_error`."""

    name: str
    dump: Dump
    started: datetime = _NEVER
    ended: datetime = _NEVER
    part: str = ""
    packed: Optional[Packed] = None
    dump_error: Optional[str] = None
    transfer_error: Optional[str] = None


@dataclass(frozen=True)
class DepositedDatabase:
    """`status` is `deposited` or `failed`. `size` (bytes) and `sha256` are of the compressed file, if there is one."""

    name: str
    status: str
    size: Optional[int]
    sha256: Optional[str]
    error: Optional[str]


@dataclass(frozen=True)
class DepositResult:
    """`status` is `deposited` when all went well, else `failed`.

    `report` is the report's name; None when it couldn't be delivered, and `error` says why.
    """

    status: str
    report: Optional[str]
    databases: tuple[DepositedDatabase, ...] = field(default=())
    error: Optional[str] = None


def summarize_backups(backups: Sequence[Backup], report: Optional[str], error: Optional[str] = None) -> DepositResult:
    databases = tuple(_database(backup) for backup in backups)
    well = report is not None and all(database.error is None for database in databases)
    return DepositResult("deposited" if well else "failed", report, databases, error)


def written(agent_id: str, ended: datetime, backups: Sequence[Backup]) -> bytes:
    """The report, in the first of the portal's two dialects. `ended` is the end of the operation."""
    report = {
        "operation_id": str(uuid.uuid4()),
        "agent_id": agent_id,
        "timestamp": format_utc(ended),
        "databases": {backup.name: _sections(backup) for backup in backups},
    }
    return json.dumps(report, indent=2).encode("ascii")


def _sections(backup: Backup) -> dict[str, Any]:
    packed = backup.packed
    transfer_error = "there is no dump to transfer" if packed is None else backup.transfer_error
    return {
        "backup_process": {
            "status": packed is not None,
            "start_time": format_utc(backup.started),
            "end_time": format_utc(backup.ended),
            "size": packed.raw_size if packed else 0,
            "message": backup.dump_error,
        },
        "compress_process": {
            "status": packed is not None,
            "sha256": packed.sha256 if packed else None,
            "size": packed.size if packed else None,
        },
        "transfer_process": {"status": transfer_error is None, "error_message": transfer_error},
    }


def _database(backup: Backup) -> DepositedDatabase:
    error = backup.dump_error or backup.transfer_error
    packed = backup.packed
    return DepositedDatabase(
        backup.name,
        "failed" if error else "deposited",
        packed.size if packed else None,
        packed.sha256 if packed else None,
        error,
    )
