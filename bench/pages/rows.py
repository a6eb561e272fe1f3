"""Rows for the pages: ten million runs, 100,000 machines, a million entries, a year of rollups, and logs to match."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from bench import beta
from bench.usage import ACTIVITY, execute, fill_runs, without_indexes

RUNS, ENTRIES, LOGS = 10_000_000, 1_000_000, 1_000_000
MACHINES, JOBS, LICENCES = 100_000, 2_000, 2_000
# From here on it is quicker to make the indexes anew, above all those of trigrams.
MANY = 10_000
CITY = "(ARRAY['LYON', 'PARIS', 'LILLE', 'NANTES', 'BREST'])[1 + n % 5]"
MACHINE = f"'PC-' || {CITY} || '-' || lpad(n::text, 6, '0')"
# The machine of one run in fifty: each enrolled one has two.
ENROLLED = MACHINE.replace("n", "(n / 50 % 100000)")
ROLLUPS = """
INSERT INTO usage_runrollup (hour, license_ref, app_name, app_version, runs, documents, succeeded, failed, pages)
SELECT hour, license_ref, app_name, app_version, count(*), sum(document_count), sum(succeeded_count),
       sum(failed_count), sum(total_pages) FROM usage_run GROUP BY 1, 2, 3, 4
"""


def create_rows(scale: float) -> None:
    begun = time.perf_counter()
    beta.create_programme()
    fill_runs(round(RUNS * scale), f"CASE WHEN n % 50 = 0 THEN {ENROLLED} ELSE 'PC-' || n % 2000 END")
    execute(ROLLUPS)
    with without_indexes("usage_featureusage"):
        execute(ACTIVITY.replace("@rows", str(round(LOGS * scale))))
    create_named(scale)
    create_logs(scale)
    execute("VACUUM ANALYZE")
    print(f"the rows were made in {time.perf_counter() - begun:.0f} s")


def multiply(row: Any, count: float, **columns: str) -> None:
    """Insert copies of a row. `columns` are expressions of n, which counts from 1, for what must differ."""
    fields = [field for field in row._meta.concrete_fields if not field.primary_key and not field.generated]
    values = [columns.get(field.column, f'"{field.column}"') for field in fields]
    names = ", ".join(f'"{field.column}"' for field in fields)
    table = row._meta.db_table
    with without_indexes(table) if count >= MANY else nullcontext():
        execute(
            f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} "
            f"FROM {table}, generate_series(1, {round(count)}) n WHERE id = {row.pk}"
        )


def create_named(scale: float) -> None:
    from django.contrib.auth.models import Group, User  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from agents.models import Agent, EnrolmentRequest  # noqa: PLC0415
    from backups.models import BackupEntry, ExpectedBackupJob  # noqa: PLC0415
    from monitoring.models import MaintenanceWindow, Target  # noqa: PLC0415
    from portal.access.tokens.issuing import issue_token  # noqa: PLC0415
    from portal.models import NotificationChannel  # noqa: PLC0415
    from usage.models import Licence  # noqa: PLC0415

    now = timezone.now()
    earlier = "now() - n * interval '1 second'"
    machine = Agent.objects.create(machine_id="PC-0", enrolled_at=now, last_seen_at=now, version="2.4.1")
    multiply(
        machine, MACHINES * scale, machine_id=MACHINE, hostname="'host-' || n || '.example.org'",
        user_name="'User ' || n % 50000", user_email="'user' || n % 50000 || '@example.org'", last_seen_at=earlier,
        enrolled_at="now() - n * interval '1 minute'",
    )  # fmt: skip
    token = issue_token("agent", label="PC-0", actor="bench")[0]
    multiply(token, MACHINES * scale, label=MACHINE, key="lpad(n::text, 12, '0')", last_used_at=earlier)
    enroll = issue_token("enroll", label="installers", actor="bench")[0]
    requested = EnrolmentRequest.objects.create(machine_id="NEW-0", token=enroll, asked_at=now, last_asked_at=now)
    multiply(requested, 40, machine_id="'NEW-' || n")
    licence = Licence.objects.create(ref="CUST-0", customer="Exemple SARL", monthly_page_quota=100_000)
    multiply(licence, LICENCES * scale, ref="'CUST-' || n", customer="'Maison ' || n % 900")
    job = ExpectedBackupJob.objects.create(agent_id="SRV-0", database_name="crm", company_name="Exemple SARL")
    multiply(job, JOBS * scale, agent_id="'SRV-' || n % 500", database_name="'base' || n")
    moments = {"cycle_at": now, "recorded_at": now, "changed_at": now}
    entry = BackupEntry.objects.create(job=job, status="SUCCESS", first_status="SUCCESS", server_size=10**9, **moments)
    jobs = JOBS * scale
    multiply(
        entry, ENTRIES * scale, cycle_at="now() - n * interval '1 minute'",
        job_id=f"{job.pk} + 1 + n % {round(jobs)}", status="CASE WHEN n % 50 = 0 THEN 'MISSING' ELSE 'SUCCESS' END",
    )  # fmt: skip
    target = Target.objects.create(name="Shop", url="https://shop.example.org/", state="up", last_check_at=now)
    multiply(target, 100, name="'Service ' || n", badge_key="NULL")
    window = MaintenanceWindow.objects.create(name="Night", starts_at=now, ends_at=now + timedelta(hours=1))
    multiply(window, 200, name="'Night ' || n")
    channel = NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    multiply(channel, 20, name="'Team ' || n", environment_key="NULL")
    multiply(User.objects.create_user("user"), 500, username="'user' || n", email="'user' || n || '@example.org'")
    multiply(Group.objects.create(name="group"), 10, name="'group ' || n")


def create_logs(scale: float) -> None:
    from django.utils import timezone  # noqa: PLC0415

    from beta.models import BetaProgramme, BetaSnapshot  # noqa: PLC0415
    from beta.report.snapshots import take_snapshot  # noqa: PLC0415
    from monitoring.models import CheckResult, Incident, Round, Target  # noqa: PLC0415
    from portal.models import AuditEvent, JobRun, OutboxMessage, TaskAttempt  # noqa: PLC0415
    from usage.guardian import reports  # noqa: PLC0415
    from usage.guardian.summary import build_summary  # noqa: PLC0415

    now, few = timezone.now(), LOGS * scale / 10
    earlier = "now() - n * interval '1 minute'"
    target = Target.objects.get(name="Shop")
    check = CheckResult.objects.create(target=target, at=now, status=200, latency_ms=80.0)
    multiply(check, LOGS * scale, at="now() - n * interval '1 second'")
    incident = Incident.objects.create(
        subject=target.subject, target=target, rule="unavailable", opened_at=now, resolved_at=now
    )
    multiply(incident, few / 10, opened_at=earlier)
    found = Round.objects.create(number=10**9, started_at=now, finished_at=now, checks=100, failures=1)
    multiply(found, few, number="n", finished_at=earlier)
    event = AuditEvent.objects.create(
        at=now, last_at=now, actor="user:pages", action="agent.enrolled", subject="agent:PC"
    )
    multiply(event, LOGS * scale, subject=f"'agent:' || {MACHINE}", at=earlier, dedupe_key="NULL")
    run = JobRun.objects.create(job="prune", cycle_key="0", started_at=now, finished_at=now)
    multiply(run, few, cycle_key="n::text")
    attempt = TaskAttempt.objects.create(task_id="0", name="scan", cluster="slow", started_at=now, finished_at=now)
    multiply(attempt, few, task_id="n::text")
    message = OutboxMessage.objects.create(
        channel="channel:1", recipient="a@example.org", subject="backup:7", severity=1, title="Late", dedupe_key="0",
        status="sent", created_at=now, finished_at=now,
    )  # fmt: skip
    multiply(message, few, dedupe_key="n::text", created_at=earlier)
    period = (now - timedelta(hours=2), now)
    report = reports.create(*period, build_summary(*period), "pages")
    multiply(report, few / 100, created_at=earlier)
    snapshot = take_snapshot(BetaProgramme.objects.get(name=beta.PROGRAMME), now, BetaSnapshot.Reason.EXPORTED)
    multiply(snapshot, few / 100, taken_at=earlier)
