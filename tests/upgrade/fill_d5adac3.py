"""Fill an empty installation of commit d5adac3 with rows of every model, by the portal's own calls where these are short.

This is code of that commit and keeps its names; linters and type checks leave it out. Run it in a checkout of d5adac3
(see `tests.upgrade.dumps`). It writes the secrets of what it made to stdout: the dump holds their hashes only.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.socialaccount.models import SocialAccount
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from django_q.models import Task as FailedTask
from vigie_client import ActivityTracker, FeedbackClient, build_usage_payload, new_run_id, spool_payload

from agents.models import Agent, EnrolmentRequest
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Scan, Status
from demo.forms import form_with
from monitoring.models import (
    BetaFeedback,
    BetaProgramme,
    CheckResult,
    Incident,
    IncidentEvent,
    MaintenanceWindow,
    Rollup,
    Round,
    Target,
)
from portal.encryption import encrypt
from portal.issuing import issue
from portal.models import Beat, ChannelState, JobRun, NotificationChannel, OutboxMessage, TaskAttempt
from portal.schedules import jobs, run_cycle
from portal.severity import Severity
from portal.tasks import enqueue
from usage.models import GuardianReport, Licence, RollupProgress, RunRollup
from usage.tracking.buffer import buffer

PASSWORD = "correct horse battery staple"
PROGRAMME = "autumn-beta"
LONG_FROM_NOW = datetime(2099, 12, 31, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"
# Tables that nothing in the portal writes.
UNUSED = {
    "account_emailconfirmation": "addresses are not confirmed by mail",
    "socialaccount_socialapp": "the identity provider is configured by the environment",
    "socialaccount_socialtoken": "the identity provider's tokens are not stored",
}


def fill() -> None:
    secrets = add_users() | add_tokens()
    add_machines(secrets)
    add_usage(secrets)
    add_backups()
    add_monitoring()
    secrets |= add_beta_programme(secrets)
    add_access_records(secrets)
    secrets |= add_messages()
    secrets["spool"] = fill_spools(secrets)
    while buffer.queued:
        buffer.write_some()
    add_records_of_work()
    secrets["queued"] = queue_tasks(secrets)
    keep_sessions_alive()
    refuse_empty_tables()
    json.dump(secrets, sys.stdout, indent=1, sort_keys=True)


# --- People ----------------------------------------------------------------------------------------------------------


def add_users() -> dict[str, Any]:
    """Alice is a superuser with a second factor, Bob has the role staff, Carol permissions of her own and by a group."""
    alice = User.objects.create_superuser("alice", "alice@example.org", PASSWORD)
    bob = User.objects.create_user("bob", "bob@example.org", PASSWORD, is_staff=True)
    carol = User.objects.create_user("carol", "carol@example.org", PASSWORD, is_staff=True)
    bob.groups.add(Group.objects.get(name="staff"))
    testers = Group.objects.create(name="beta testers")
    names = ("view_betaprogramme", "change_betaprogramme", "view_betafeedback", "change_betafeedback")
    testers.permissions.set(Permission.objects.filter(codename__in=names))
    carol.groups.add(testers)
    carol.user_permissions.add(Permission.objects.get(codename="view_betasnapshot"))
    secret = generate_totp_secret()
    TOTP.activate(alice, secret)
    codes = RecoveryCodes.activate(alice).get_unused_codes()
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    SocialAccount.objects.create(user=bob, provider="oidc", uid="bob-at-the-provider", extra_data={"sub": "bob"})
    return {
        "password": PASSWORD,
        "totp_secret": secret,
        "recovery_code": codes[0],
        "sessions": {name: cookie_of(sign_in(name, secret)) for name in ("alice", "bob", "carol")},
    }


def browser() -> Client:
    return Client(SERVER_NAME="localhost", HTTP_USER_AGENT="Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0")


def sign_in(name: str, totp_secret: str) -> Client:
    client = browser()
    answer = client.post("/accounts/login/", {"login": name, "password": PASSWORD})
    if "/2fa/" in answer.headers.get("Location", ""):
        code = format_hotp_value(hotp_value(totp_secret, next(iter(yield_hotp_counters_from_time()))))
        client.post(answer.headers["Location"], {"code": code})
    assert client.get("/admin/").status_code == 200, name
    return client


def cookie_of(client: Client) -> str:
    return str(client.cookies[settings.SESSION_COOKIE_NAME].value)


def keep_sessions_alive() -> None:
    Session.objects.update(expire_date=LONG_FROM_NOW)


def add_access_records(secrets: dict[str, Any]) -> None:
    """A wrong password, a wrong token, and a superuser who has a week to set up a second factor."""
    browser().post("/accounts/login/", {"login": "bob", "password": "a wrong password"})
    wrong = secrets["tokens"]["client"][:-1] + "x"
    call("GET", "agents/fleet", wrong, expected=401)
    dave = User.objects.create_superuser("dave", "dave@example.org", PASSWORD)
    sign_in(dave.username, "")


# --- What machines and applications send ------------------------------------------------------------------------------


def call(method: str, path: str, token: str, body: Any = None, expected: int = 200) -> Any:
    answer = browser().generic(
        method,
        f"/api/v1/{path}",
        json.dumps(body) if body is not None else "",
        "application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == expected, (path, answer.status_code, answer.content)
    return answer.json() if answer.content else None


def add_tokens() -> dict[str, Any]:
    alice = User.objects.get(username="alice")
    return {
        "tokens": {
            "enroll": issue("enroll", label="installer", user=alice, actor="user:alice")[1],
            "enroll_bound": issue("enroll", for_machine="SRV-01", max_uses=3, actor="user:alice")[1],
            "client": issue("client", label="gui_v6", expires_at=LONG_FROM_NOW, actor="user:alice")[1],
            "client_bound": issue("client", label="batch", app_names=["batch"], actor="user:alice")[1],
            "staff": issue("staff", user=alice, label="reports", actor="user:alice")[1],
            "uninstall": issue("enroll", label="leaving", scopes=["uninstall"], actor="user:alice")[1],
        }
    }


def add_machines(secrets: dict[str, Any]) -> None:
    """One enrolled with its token, one uninstalled, and one that waits for an operator's approval."""
    tokens = secrets["tokens"]
    person = {"user_name": "Erin Example", "user_email": "erin@example.org", "hostname": "pc-01", "version": "6.0.3"}
    tokens["agent"] = call("POST", "agents/enroll", tokens["enroll"], {"machine_id": "PC-01", **person}, 201)[
        "api_token"
    ]
    call("POST", "agents/heartbeat", tokens["agent"], {"version": "6.0.3", "os_info": "Debian 12"})
    leaving = call("POST", "agents/enroll", tokens["enroll"], {"machine_id": "PC-02"}, 201)["api_token"]
    call("POST", "agents/uninstall", leaving, {"reason": "replaced"})
    secrets["revoked_token"] = leaving
    ExpectedBackupJob.objects.create(agent_id="SRV-02", database_name="payroll")
    call("POST", "agents/enroll", tokens["enroll"], {"machine_id": "SRV-02"}, 409)
    assert EnrolmentRequest.objects.exists()


def run_of(machine_id: str, app_name: str = "gui_v6") -> dict[str, Any]:
    documents = [{"page_count": 7, "status": "success", "duration_ms": 420, "extension": ".pdf"}]
    return build_usage_payload(
        run_id=new_run_id(),
        app_name=app_name,
        app_version="6.0.3",
        license_ref="LIC-2040",
        machine_id=machine_id,
        documents=documents,
        started_at=timezone.now(),
        strict=True,
    )


def add_usage(secrets: dict[str, Any]) -> None:
    now, who = timezone.now(), {"user_email": "erin@example.org"}
    run = run_of("PC-01")
    call("POST", "usage/report", secrets["tokens"]["agent"], run, 201)
    secrets["reported_run"] = run["run_id"]
    events: dict[str, list[dict[str, Any]]] = {
        "sessions": [{"session_start": (now - timedelta(hours=1)).isoformat(), "session_end": now.isoformat()}],
        "features": [{"feature_name": "export", "timestamp": now.isoformat(), "success": True, "duration_ms": 12}],
        "errors": [{"error_type": "PasswordProtected", "error_code": 422, "timestamp": now.isoformat()}],
    }
    sent = {name: [{"id": uuid.uuid4().hex, **who, **each} for each in rows] for name, rows in events.items()}
    call("POST", "usage/events", secrets["tokens"]["client"], sent)
    Licence.objects.filter(ref="LIC-2040").update(customer="Example Ltd", monthly_page_quota=1_000)
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    figures = {"runs": 3, "documents": 5, "succeeded": 5, "failed": 0, "pages": 40}
    RunRollup.objects.create(hour=hour, license_ref="LIC-2040", app_name="gui_v6", app_version="6.0.3", **figures)
    RollupProgress.objects.get_or_create(defaults={"counted_until": hour})
    GuardianReport.objects.create(
        period_start=hour, period_end=hour + timedelta(hours=2), created_at=now, requested_by="user:alice", data={}
    )


def add_backups() -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    job = ExpectedBackupJob.objects.create(
        agent_id="PC-01", database_name="accounts", company_name="Example", city="Lyon", days_of_week="MO,FR"
    )
    scan = Scan.objects.create(source=Scan.Source.COMMAND, at=now, finished_at=now, jobs=1, recorded=2, agents=1)
    moments = {"recorded_at": now, "changed_at": now}
    for days, status, promotion in ((8, Status.HASH_MISMATCH, "archived"), (1, Status.SUCCESS, "promoted")):
        BackupEntry.objects.create(
            job=job,
            cycle_at=now - timedelta(days=days),
            status=status,
            first_status=status,
            server_sha256="0" * 64,
            server_size=4_096,
            agent_sha256="0" * 64,
            agent_size=4_096,
            report_name="backup_report.json",
            staged_name="accounts.sql.gz",
            steps={"dump": {"status": "success"}},
            promotion=promotion,
            stored_path=f"Example/Lyon/accounts/{days}",
            **moments,
        )
    ExpectedBackupJob.objects.filter(pk=job.pk).update(
        current_status=Status.SUCCESS, last_success_at=now, previous_successful_hash="0" * 64
    )
    DepositArea.objects.create(agent_id="PC-01", scanned_at=scan.at, unexpected=["other"], unread=["notes.json"])


# --- Monitoring ------------------------------------------------------------------------------------------------------


def add_monitoring() -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    shop = Target.objects.create(
        name="Shop", url=f"{NOWHERE}/", is_active=False, state=Target.State.UP, badge_key="b" * 22, last_check_at=now
    )
    for minutes, error in ((3, ""), (2, "connect"), (1, "")):
        at = now - timedelta(minutes=minutes)
        CheckResult.objects.create(target=shop, at=at, error_kind=error, latency_ms=None if error else 12.5, status=200)
    for period in Rollup.Period.values:
        Rollup.objects.create(
            target=shop, period=period, start=now.replace(hour=0, minute=0), checks=3, failures=1,
            latency_sum_ms=25, histogram={"40": 2},
        )  # fmt: skip
    Round.objects.create(number=1, started_at=now, finished_at=now, checks=3, failures=1, failing=["Shop"])
    incident = Incident.objects.create(
        subject=shop.subject, target=shop, rule=Incident.Rule.UNAVAILABLE, opened_at=now - timedelta(hours=2),
        resolved_at=now - timedelta(hours=1), duration=timedelta(hours=1), error_kind="connect", detail="ECONNREFUSED",
        acknowledged_at=now, acknowledged_by="alice", told_at=now, cause="A cable.",
    )  # fmt: skip
    Incident.objects.create(subject=shop.subject, target=shop, rule=Incident.Rule.SLOW, opened_at=now, told_at=now)
    for kind, text in (("opened", ""), ("noted", "A cable."), ("resolved", "")):
        IncidentEvent.objects.create(incident=incident, at=now, kind=kind, text=text, actor="alice")
    window = MaintenanceWindow.objects.create(
        name="Night", starts_at=now, ends_at=now + timedelta(hours=1), repeats=MaintenanceWindow.Repeats.DAILY
    )
    window.targets.add(shop)


# --- The beta programme ----------------------------------------------------------------------------------------------


def add_beta_programme(secrets: dict[str, Any]) -> dict[str, Any]:
    """A programme made, changed and triaged in the admin, with feedback by each way in."""
    alice = browser()
    alice.cookies[settings.SESSION_COOKIE_NAME] = secrets["sessions"]["alice"]
    submit(alice, "/admin/monitoring/betaprogramme/add/", "name", name=PROGRAMME, starts=date(2026, 1, 1), ends="")
    programme = BetaProgramme.objects.get()
    page = f"/admin/monitoring/betaprogramme/{programme.pk}/change/"
    submit(alice, page, "name", product="Page Counter 6.1", allowed_origins="https://counter.example.org")
    submit(alice, f"/admin/monitoring/target/{Target.objects.get().pk}/change/", "url", beta_programme=programme.pk)
    for token in ("client", "agent"):
        call("POST", "beta/feedback", secrets["tokens"][token], feedback_by("erin@example.org"), 201)
    public = browser().post(
        f"/api/v1/beta/feedback?key={programme.public_key}",
        feedback_by("frank@example.org", programme=None),
        content_type="application/json",
        headers={"Origin": "https://counter.example.org"},
    )
    assert public.status_code == 201, public.content
    chosen = BetaFeedback.objects.order_by("pk").first()
    assert chosen is not None
    triage = {"action": "triage", "confirmed": "1", "_selected_action": chosen.pk, "add_tags": "counting, sleep"}
    answer = alice.post("/admin/monitoring/betafeedback/", triage | {"status": "fixed", "fix_version": "6.1.0"})
    assert answer.status_code == 302, answer.content
    submit(alice, f"/admin/monitoring/betafeedback/{chosen.pk}/change/", "fix_version", fix_version="6.1.1")
    BetaFeedback.objects.filter(pk=chosen.pk).update(
        incident=Incident.objects.earliest("pk"), assignee=User.objects.get(username="bob")
    )
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "report.json")
        call_command("beta_report", "--programme", PROGRAMME, "--format", "json", "--output", output, verbosity=0)
    return {"programme": programme.pk, "public_key": programme.public_key, "feedback": chosen.pk}


def submit(client: Client, path: str, field: str, **changed: Any) -> None:
    """Send the form of the page that has the field, with some values changed."""
    values = form_with(client.get(path).content.decode(), field) | changed
    answer = client.post(path, values)
    assert answer.status_code == 302, (path, answer.content.decode())


def feedback_by(participant: str, programme: str | None = PROGRAMME) -> dict[str, Any]:
    said = {"type": "bug", "severity": "high", "nps_score": 8, "comment": "The export hangs.", "app_version": "6.1.0"}
    named = {"programme": programme} if programme else {}
    return {"id": uuid.uuid4().hex, "participant": participant, **said, **named}


# --- Messages and work -----------------------------------------------------------------------------------------------


def add_messages() -> dict[str, Any]:
    """Two channels with rows, two that come from the environment, and a message that waits for each."""
    key = "a signing key of the test"
    webhook = NotificationChannel.objects.create(
        name="Hook", kind=NotificationChannel.Kind.WEBHOOK, addresses=f"{NOWHERE}/hook", secret=encrypt(key)
    )
    mail = NotificationChannel.objects.create(
        name="Mail", kind=NotificationChannel.Kind.EMAIL, addresses="ops@example.org"
    )
    recipients = {
        "telegram": settings.TELEGRAM_CHAT_ID,
        "guardian": settings.GUARDIAN_RECIPIENTS[0],
        webhook.key: f"{NOWHERE}/hook",
        mail.key: "ops@example.org",
    }
    now = timezone.now()
    for channel, recipient in recipients.items():
        ChannelState.objects.create(channel=channel, last_success_at=now, fence=3)
        for number, status in enumerate((OutboxMessage.Status.SENT, OutboxMessage.Status.WAITING)):
            OutboxMessage.objects.create(
                channel=channel,
                recipient=recipient,
                subject="target:1",
                severity=Severity.CRITICAL,
                state=OutboxMessage.State.OPENED,
                title=f"Shop is down ({channel}, {status})",
                text="It does not answer.",
                path="/admin/monitoring/incident/1/change/",
                dedupe_key=f"upgrade:{number}",
                status=status,
                created_at=now,
                finished_at=now if status == OutboxMessage.Status.SENT else None,
            )
    return {"webhook": webhook.key, "webhook_address": f"{NOWHERE}/hook", "signing_key": key, "mail": mail.key}


def add_records_of_work() -> None:
    """What periodic jobs, workers and django-q2 leave behind."""
    now = timezone.now()
    for job in jobs.all():
        if job.name != "portal.retention":
            run_cycle(job)
    OrmQ.objects.all().delete()  # those that the jobs have queued, and that are queued again below
    Beat.objects.get_or_create(component="quick", defaults={"at": now})
    TaskAttempt.objects.create(
        task_id=uuid.uuid4().hex, name="backups.reverify", cluster="slow", attempts=1, started_at=now, finished_at=now
    )
    FailedTask.objects.create(
        id=uuid.uuid4().hex, name="portal.beat", func="portal.tasks.run", args=("portal.beat", "quick"), started=now,
        stopped=now, success=False, result="TaskFailed: given up",
    )  # fmt: skip
    assert JobRun.objects.exists()


def queue_tasks(secrets: dict[str, Any]) -> dict[str, str]:
    """One call of each task that has not run yet, in the cluster where the portal puts it; their ids by name."""
    job = ExpectedBackupJob.objects.get(database_name="accounts")
    scan = Scan.objects.create(source=Scan.Source.API, at=timezone.now(), agent_id=job.agent_id, agents=1)
    alice = User.objects.get(username="alice")
    calls: list[tuple[str, str, tuple[Any, ...]]] = [
        ("quick", "portal.beat", ("quick",)),
        ("slow", "portal.beat", ("slow",)),
        ("quick", "portal.access.reset_mail", ([alice.pk], "en")),
        ("quick", "monitoring.round", ()),
        ("slow", "backups.reverify", (job.pk,)),
        ("slow", "backups.scan_agent", (job.agent_id, scan.pk)),
        ("slow", "privacy.erase_subject", (encrypt("erin@example.org"), "user:alice")),
        *(("quick", "portal.deliver", (channel,)) for channel in ("telegram", "guardian", secrets["webhook"])),
        ("quick", "portal.deliver", (secrets["mail"],)),
        *((job.cluster, job.name, ()) for job in jobs.all()),
    ]
    return {enqueue(name, *args, cluster=cluster): name for cluster, name, args in calls}  # type: ignore[arg-type]


def fill_spools(secrets: dict[str, Any]) -> dict[str, str]:
    """The files of a client's state directory, whose items wait for a portal that did not answer, by name."""
    token = secrets["tokens"]["client"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        runs = [run_of("PC-01") for _ in range(3)]
        for run in runs:
            assert spool_payload(place / "usage.jsonl", run)
        feedback = FeedbackClient(
            NOWHERE, token, spool_path=place / "feedback.jsonl", programme=PROGRAMME, deliver_after=3600
        )
        assert feedback.send("grace@example.org", type="ux", comment="The icon is grey.")
        assert not feedback.flush(force=True)
        tracker = ActivityTracker(
            NOWHERE, token, "grace@example.org", spool_path=place / "activity.jsonl", deliver_after=3600
        )
        with tracker.feature("export"):
            pass
        assert not tracker.flush(force=True)
        secrets["spooled_runs"] = [run["run_id"] for run in runs]
        return {path.name: path.read_text() for path in sorted(place.iterdir()) if path.is_file()}


def refuse_empty_tables() -> None:
    models = apps.get_models(include_auto_created=True)
    empty = {model._meta.db_table for model in models if not model._base_manager.exists()}
    assert empty == set(UNUSED), empty ^ set(UNUSED)
    assert Agent.objects.count() == 2
