"""Results of a deposit: the report for the portal, and the result for the caller."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from vigie_client.contract import REPORT_STEPS
from vigie_client.deposits.dumps import Dump
from vigie_client.deposits.packing import PackedFile
from vigie_client.http.times import format_utc

_EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass
class Backup:
    """The backup of one database: `packed` in the file `part` or `dump_error`, then delivered or `transfer_error`."""

    name: str
    dump: Dump
    started: datetime = _EPOCH
    ended: datetime = _EPOCH
    part: str = ""
    packed: Optional[PackedFile] = None
    dump_error: Optional[str] = None
    transfer_error: Optional[str] = None


@dataclass(frozen=True)
class DepositedDatabase:
    """The result of one database: `deposited` or `failed`, with size in bytes and SHA-256 of the compressed file."""

    name: str
    status: str
    size: Optional[int]
    sha256: Optional[str]
    error: Optional[str]


@dataclass(frozen=True)
class DepositResult:
    """The result of a deposit: `status` is `deposited` if everything succeeded, else `failed`.

    `report` is the report's name, or None if it could not be delivered for the reason `error`.
    """

    status: str
    report: Optional[str]
    databases: tuple[DepositedDatabase, ...] = field(default=())
    error: Optional[str] = None


def summarize_backups(backups: Sequence[Backup], report: Optional[str], error: Optional[str] = None) -> DepositResult:
    databases = tuple(_database_result(backup) for backup in backups)
    is_complete = report is not None and all(database.error is None for database in databases)
    return DepositResult("deposited" if is_complete else "failed", report, databases, error)


def serialize_report(agent_id: str, ended: datetime, backups: Sequence[Backup]) -> bytes:
    """Return the report as JSON, in the first of the portal's two dialects. `ended` is the end of the operation."""
    report = {
        "operation_id": str(uuid.uuid4()),
        "agent_id": agent_id,
        "timestamp": format_utc(ended),
        "databases": {backup.name: _report_sections(backup) for backup in backups},
    }
    return json.dumps(report, indent=2).encode("ascii")


def _report_sections(backup: Backup) -> dict[str, Any]:
    packed = backup.packed
    transfer_error = "there is no dump to transfer" if packed is None else backup.transfer_error
    backup_step, compress_step, transfer_step = (names[0] for names in REPORT_STEPS.values())
    return {
        backup_step: {
            "status": packed is not None,
            "start_time": format_utc(backup.started),
            "end_time": format_utc(backup.ended),
            "size": packed.raw_size if packed else 0,
            "message": backup.dump_error,
        },
        compress_step: {
            "status": packed is not None,
            "sha256": packed.sha256 if packed else None,
            "size": packed.size if packed else None,
        },
        transfer_step: {"status": transfer_error is None, "error_message": transfer_error},
    }


def _database_result(backup: Backup) -> DepositedDatabase:
    error = backup.dump_error or backup.transfer_error
    packed = backup.packed
    return DepositedDatabase(
        backup.name,
        "failed" if error else "deposited",
        packed.size if packed else None,
        packed.sha256 if packed else None,
        error,
    )
