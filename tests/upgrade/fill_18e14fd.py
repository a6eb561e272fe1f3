"""Fill an installation of 0.1.0, commit 18e14fd, upgraded from d5adac3, with rows of the models that were new in it.

This is code of that commit and keeps its names; linters and type checks leave it out. `tests.upgrade.dumps` runs it.
"""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from backups.drills.models import DrillAssertion, DrillSandbox, RestoreDrill
from backups.models import BackupEntry, ExpectedBackupJob
from portal.access.models import Preferences
from portal.base.findings import Severity
from portal.desk.models import FindingAcknowledgement


def fill() -> None:
    now = timezone.now().replace(microsecond=0)
    alice = User.objects.get(username="alice")
    Preferences.objects.create(user=alice, time_zone="Europe/Paris", language="en", has_dismissed_checklist=True)
    FindingAcknowledgement.objects.create(
        key="portal.quick", severity=Severity.WARNING, acknowledged_at=now, acknowledged_by="alice", assignee=alice,
        comment="A cable.",
    )  # fmt: skip
    job = ExpectedBackupJob.objects.get(database_name="accounts")
    [entry] = BackupEntry.objects.filter(job=job, promotion="promoted")
    ended = now + timedelta(seconds=2)
    RestoreDrill.objects.create(
        job=job, entry=entry, status=RestoreDrill.Status.PROVEN, started_at=now, finished_at=ended, bytes_read=4_096,
        engine="sqlite", format="sql", duration_ms=1_500, size=8_192, tables=2, rows={"invoice": 40, "line": 90},
        assertions=[{"name": "Invoices", "ok": True, "value": "40", "failed": False}], schema="CREATE TABLE invoice (id integer);",
    )  # fmt: skip
    RestoreDrill.objects.create(
        job=job, entry=entry, status=RestoreDrill.Status.FAILED, started_at=now, finished_at=ended, engine="sqlite"
    )
    DrillAssertion.objects.create(job=job, name="Invoices", query="SELECT count(*) FROM invoice", expected="10")
    sandbox = DrillSandbox.objects.create(engine="mysql", trouble={"code": "server_full"}, troubled_since=now)
    ExpectedBackupJob.objects.filter(pk=job.pk).update(proven_at=ended, proven_until=ended + timedelta(days=36_500))
    ExpectedBackupJob.objects.filter(database_name="payroll").update(unavailable_sandbox=sandbox)
