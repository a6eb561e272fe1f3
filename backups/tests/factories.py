"""Factories of deposits, which are real files in real folders, and of rows as scans write them."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.utils import timezone

from backups.models import VERIFIED, BackupEntry, ExpectedBackupJob, Scan, Status
from backups.reasons import make_reason

AGENT, DATABASE = "SRV-DOUALA-01", "compta_db"
# The moment most tests speak of: a Thursday, expected at 13:00, reported at 13:04.
EXPECTED = datetime(2025, 6, 12, 13, tzinfo=UTC)
REPORTED = EXPECTED + timedelta(minutes=4)
AFTER_DEADLINE = EXPECTED + timedelta(minutes=31)
# What is deposited where the content does not matter.
BODY = b"\x1f\x8b a dump"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def dump(text: str = "CREATE TABLE t (id integer);\n") -> bytes:
    return gzip.compress(text.encode(), mtime=0)


@dataclass
class Machine:
    """One agent and its two folders."""

    root: Path
    agent_id: str = AGENT

    @property
    def logs(self) -> Path:
        return self.root / self.agent_id / "log"

    @property
    def dumps(self) -> Path:
        return self.root / self.agent_id / "database"

    def stage(self, content=None, name=f"{DATABASE}.sql.gz"):
        self.dumps.mkdir(parents=True, exist_ok=True)
        (self.dumps / name).write_bytes(dump() if content is None else content)

    def report(self, moment=REPORTED, databases=None, name=None, **root):
        """Write a report of these databases and return its name."""
        name = name or f"OPERATION_{moment:%Y%m%d_%H%M}_{self.agent_id}.json"
        body = {
            "operation_id": "6f1c6f0e-3f0a-4f0f-9a35-2f3a5c1b7d10",
            "agent_id": self.agent_id,
            "timestamp": moment.isoformat(),
            "databases": {DATABASE: report_section()} if databases is None else databases,
        } | root
        return self.write_log(name, json.dumps(body).encode())

    def write_log(self, name, content):
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.logs / name).write_bytes(content)
        return name

    def deposit(self, content=None, moment=REPORTED, database=DATABASE, **changes):
        """Write a dump and its report, with changes to its section, and return the report's name."""
        content = dump() if content is None else content
        self.stage(content, f"{database}.sql.gz")
        return self.report(moment, {database: report_section(content) | changes})


def report_section(content=None, **steps):
    """Return an agent's section on one database; `backup=`, `compress=` and `transfer=` change single values."""
    content = dump() if content is None else content
    return {
        "backup_process": {"status": True, "start_time": "2025-06-12T13:00:00Z", "size": 1000}
        | steps.get("backup", {}),
        "compress_process": {"status": True, "sha256": sha256(content), "size": len(content)}
        | steps.get("compress", {}),
        "transfer_process": {"status": True, "error_message": None} | steps.get("transfer", {}),
    }


# --- Rows ------------------------------------------------------------------------------------------------------------

REASONS = {Status.SUCCESS: "verified", Status.UNCHANGED: "unchanged", Status.MISSING: "no_report"}
HASH = "a1" * 32


def make_entry(job, status=Status.SUCCESS, ago=timedelta(hours=1), **fields):
    """Create an entry of a cycle that was expected `ago`, with equal sizes and hashes on both sides."""
    at = timezone.now() - ago
    sides = {
        f"{side}_{what}": value for side in ("agent", "server") for what, value in (("sha256", HASH), ("size", 4096))
    }
    given = {
        "status": status,
        "first_status": status,
        "reasons": [make_reason(REASONS.get(status, "file_changed"))],
        "staged_name": f"{job.database_name}.sql.gz",
        "recorded_at": at,
        "changed_at": at,
    } | (sides if status in VERIFIED else {})
    return BackupEntry.objects.create(job=job, cycle_at=at, **given | fields)


def set_status(job, status=Status.SUCCESS, ago=timedelta(hours=1), **fields):
    """Set the job's status since `ago`, and return the entry behind it."""
    at = timezone.now() - ago
    changes = {"current_status": status, "status_since": at}
    if status in VERIFIED:
        changes |= {"last_verified_at": at, "last_success_at": at, "previous_successful_hash": HASH}
    ExpectedBackupJob.objects.filter(pk=job.pk).update(**changes | fields)
    job.refresh_from_db()
    return make_entry(job, status, ago)


def make_finished_scan(ago=timedelta(minutes=5), **fields):
    at = timezone.now() - ago
    given = {"source": "schedule", "at": at, "started_at": at, "finished_at": at + timedelta(seconds=12)}
    return Scan.objects.create(**given | fields)
