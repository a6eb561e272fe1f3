"""Deposit areas as agents leave them: real files in real folders."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner import orchestration
from portal.models import NotificationChannel
from portal.tests.helpers.database import own_address

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
        """Writes a report of these databases; its name."""
        name = name or f"OPERATION_{moment:%Y%m%d_%H%M}_{self.agent_id}.json"
        body = {
            "operation_id": "6f1c6f0e-3f0a-4f0f-9a35-2f3a5c1b7d10",
            "agent_id": self.agent_id,
            "timestamp": moment.isoformat(),
            "databases": {DATABASE: section()} if databases is None else databases,
        } | root
        return self.write_log(name, json.dumps(body).encode())

    def write_log(self, name, content):
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.logs / name).write_bytes(content)
        return name

    def deposit(self, content=None, moment=REPORTED, database=DATABASE, **changes):
        """A dump and its report, as they should be but for the changes to the section."""
        content = dump() if content is None else content
        self.stage(content, f"{database}.sql.gz")
        return self.report(moment, {database: section(content) | changes})


def section(content=None, **steps):
    """What an agent says of one database; `backup=`, `compress=` and `transfer=` change single values."""
    content = dump() if content is None else content
    return {
        "backup_process": {"status": True, "start_time": "2025-06-12T13:00:00Z", "size": 1000}
        | steps.get("backup", {}),
        "compress_process": {"status": True, "sha256": sha256(content), "size": len(content)}
        | steps.get("compress", {}),
        "transfer_process": {"status": True, "error_message": None} | steps.get("transfer", {}),
    }


@pytest.fixture(autouse=True)
def roots(settings, tmp_path):
    settings.DEPOSITS_ROOT, settings.VALIDATED_ROOT = tmp_path / "deposits", tmp_path / "validated"
    settings.DEPOSITS_ROOT.mkdir()
    settings.VALIDATED_ROOT.mkdir()


@pytest.fixture
def machine(settings):
    return Machine(settings.DEPOSITS_ROOT)


@pytest.fixture
def put(client, agent_token):
    """Deposits a body; a header given as None is not sent."""

    def putting(name=f"{DATABASE}.sql.gz", body=BODY, *, area="database", token=agent_token, **changes):
        headers = {"X-Content-SHA256": sha256(body), "Authorization": f"Bearer {token}"} | changes.pop("headers", {})
        given = {key: value for key, value in headers.items() if value is not None}
        changes = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)} | changes
        return client.generic("PUT", f"/api/v1/backups/deposits/{area}/{name}", body, "", headers=given, **changes)

    return putting


@pytest.fixture
def make_job(db):
    """A job watched since long before the moments the tests speak of."""

    def make(database_name=DATABASE, agent_id=AGENT, **fields):
        long_ago = EXPECTED - timedelta(hours=23)
        given = {
            "expected_hour_utc": 13,
            "early_minutes": 10,
            "watched_since": long_ago,
            "created_at": long_ago,
            "company_name": "ACME",
        }
        return ExpectedBackupJob.objects.create(agent_id=agent_id, database_name=database_name, **given | fields)

    return make


@pytest.fixture
def job(make_job):
    return make_job()


@pytest.fixture
def scan(db):
    """Scans as of a moment; the outcome."""

    def scanning(at=AFTER_DEADLINE, agent_id=""):
        return orchestration.scan_now(at, agent_id)[1]

    return scanning


@pytest.fixture
def entry(scan, job):
    """Scans, and gives the job's entry of the cycle expected at this moment; None where there is none."""

    def found(at=AFTER_DEADLINE, cycle=EXPECTED):
        scan(at)
        return BackupEntry.objects.filter(job=job, cycle_at=cycle).first()

    return found


@pytest.fixture
def current(settings):
    """The bytes of a job's current version by file name."""

    def reading(database=DATABASE, company="ACME"):
        folder = settings.VALIDATED_ROOT / company / "_" / database / "current_version"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}

    return reading


@pytest.fixture
def versions(settings):
    def reading(database=DATABASE, company="ACME"):
        folder = settings.VALIDATED_ROOT / company / "_" / database / "versions"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}

    return reading


@pytest.fixture
def channel(db):
    """Somebody to be told."""
    return NotificationChannel.objects.create(name="Operators", kind="email", addresses="ops@example.org")


PRELUDE = """
import sys, django
django.setup()
from datetime import datetime
from backups.scanner import rounds, store
moment = datetime.fromisoformat(sys.argv[1])
"""


@pytest.fixture
def start_elsewhere(transactional_db, settings):
    """Starts Python code in a process of its own, on the same database and roots; its Popen."""

    def starting(code, at=AFTER_DEADLINE):
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "DEPOSITS_ROOT": str(settings.DEPOSITS_ROOT),
            "VALIDATED_ROOT": str(settings.VALIDATED_ROOT),
            "DATABASE_URL": own_address(),
        }
        return subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, at.isoformat()],
            env=environment,
            cwd=settings.BASE_DIR,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return starting


@pytest.fixture
def elsewhere(start_elsewhere):
    """Runs such code to its end; what it printed, and how it ended."""

    def running(code, at=AFTER_DEADLINE, returncode=0):
        process = start_elsewhere(code, at)
        out, errors = process.communicate(timeout=120)
        assert process.returncode == returncode, errors
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)

    return running
