"""Fixtures of backups: roots, machines, jobs and scans."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner import orchestration
from backups.tests.factories import AFTER_DEADLINE, AGENT, BODY, DATABASE, EXPECTED, Machine, sha256
from portal.models import NotificationChannel


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
    """Return a function that uploads a body. A header given as None is not sent."""

    def putting(name=f"{DATABASE}.sql.gz", body=BODY, *, area="database", token=agent_token, **changes):
        headers = {"X-Content-SHA256": sha256(body), "Authorization": f"Bearer {token}"} | changes.pop("headers", {})
        given = {key: value for key, value in headers.items() if value is not None}
        changes = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)} | changes
        return client.generic("PUT", f"/api/v1/backups/deposits/{area}/{name}", body, "", headers=given, **changes)

    return putting


@pytest.fixture
def make_job(db):
    """Return a function that creates a job watched since long before EXPECTED."""

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
    """Return a function that scans as of a moment and returns the ScanResult."""

    def scanning(at=AFTER_DEADLINE, agent_id=""):
        return orchestration.scan_now(at, agent_id)[1]

    return scanning


@pytest.fixture
def entry(scan, job):
    """Return a function that scans and returns the job's entry of a cycle, or None."""

    def found(at=AFTER_DEADLINE, cycle=EXPECTED):
        scan(at)
        return BackupEntry.objects.filter(job=job, cycle_at=cycle).first()

    return found


@pytest.fixture
def current(settings):
    """Return a function that reads a job's current version, as bytes by file name."""

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
    """A channel that receives notices."""
    return NotificationChannel.objects.create(name="Operators", kind="email", addresses="ops@example.org")
