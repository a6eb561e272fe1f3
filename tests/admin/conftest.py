"""Fixtures shared by the tests of the admin across apps."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.models import EnrolmentRequest
from backups.models import BackupEntry, DrillAssertion, ExpectedBackupJob, RestoreDrill
from beta.models import BetaProgramme, BetaSnapshot
from beta.report.snapshots import take_snapshot
from beta.tests.factories import create_feedback
from monitoring.models import CheckResult, Incident, MaintenanceWindow, Round, Target
from portal.access.tokens.issuing import issue_token
from portal.models import JobRun, NotificationChannel, OutboxMessage, TaskAttempt
from usage.guardian import reports
from usage.guardian.summary import build_summary
from usage.tests.factories import (
    create_error,
    create_feature_usage,
    create_licence,
    create_rollup,
    create_run,
    create_session,
)


@pytest.fixture
def rows(make_agent):
    """Return a function that creates some rows of every model in the admin."""
    now = timezone.now()
    period = (now - timedelta(hours=2), now + timedelta(seconds=1))
    summary = build_summary(*period)
    for number in range(3):
        enrolled_with = issue_token("enroll", label="installer")[0]
        issue_agent_token(make_agent(f"PC-{number}", enrolled_with=enrolled_with))
        EnrolmentRequest.objects.create(
            machine_id=f"NEW-{number}", token=enrolled_with, asked_at=now, last_asked_at=now
        )
        create_run(run_id=f"{number:032x}", machine_id="PC-0")
        for who in ("bob@example.org", "agent:PC-0", ""):
            create_feature_usage(who, now)
            create_error(who, now)
            create_session(who, now)
        reports.create(*period, summary, "olga")
        create_licence(f"LIC-{number}", quota=number or None)
        create_rollup(now, license_ref=f"LIC-{number}")
        job = ExpectedBackupJob.objects.create(agent_id="PC-0", database_name=f"db{number}")
        entry = BackupEntry.objects.create(
            job=job, cycle_at=now, status="MISSING", first_status="MISSING", recorded_at=now, changed_at=now
        )
        RestoreDrill.objects.create(job=job, entry=entry, status="PROVEN", rows={"a": 1})
        DrillAssertion.objects.create(job=job, name="a", query="SELECT 1", expected="1")
        programme = BetaProgramme.objects.create(name=f"PC-{number}")
        create_feedback(programme, nps_score=8, source=f"agent:PC-{number}")
        take_snapshot(programme, now, BetaSnapshot.Reason.EXPORTED)
        target = Target.objects.create(name=f"PC-{number}", url="https://example.org/")
        programme.targets.add(target)
        CheckResult.objects.create(target=target, at=now, error_kind="dns", detail="name")
        Incident.objects.create(subject=target.subject, target=target, rule="unavailable", opened_at=now)
        Round.objects.create(number=number, started_at=now, finished_at=now, checks=3, failures=1, failing=["PC-1"])
        window = MaintenanceWindow.objects.create(name=f"w{number}", starts_at=now, ends_at=now + timedelta(hours=1))
        window.targets.add(target)
        JobRun.objects.create(job="prune", cycle_key=str(number))
        TaskAttempt.objects.create(task_id=str(number), name="beat", cluster="quick", started_at=now)
        Group.objects.create(name=f"g{number}")
        channel = NotificationChannel.objects.create(name=f"Team {number}", kind="email", addresses="a@example.org")
        OutboxMessage.objects.create(
            channel=channel.key, recipient="a@example.org", subject="backup:7", severity=1, title="Late",
            dedupe_key=str(number), created_at=now,
        )  # fmt: skip
