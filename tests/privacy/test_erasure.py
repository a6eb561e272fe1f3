"""Erasure and export: data about a person or machine is planted in every table, and afterwards found nowhere."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import Task

from agents.enrolment import issue_agent_token
from agents.models import Agent, EnrolmentRequest
from backups.models import (
    BackupEntry,
    DepositArea,
    DrillAssertion,
    ExpectedBackupJob,
    OffsiteCopy,
    RestoreDrill,
    Scan,
)
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot, FeedbackTag
from monitoring.models import Incident, IncidentEvent, MaintenanceWindow, Target
from portal import audit
from portal.access.tokens.issuing import issue_token
from portal.base.encryption import encrypt
from portal.models import (
    ApiToken,
    AuditEvent,
    ChannelState,
    FindingAcknowledgement,
    JobRun,
    NotificationChannel,
    OutboxMessage,
    Preferences,
    TaskAttempt,
)
from portal.privacy import erasing, personal_data
from portal.privacy.registry import PersonalDataTable
from portal.privacy.subjects import parse_subject
from portal.work import processes
from usage.models import FeatureUsage, GuardianReport, Licence, Run, UserError, UserSession
from usage.tests.factories import create_run

pytestmark = pytest.mark.django_db
PSEUDONYM = re.compile(r"erased-[0-9a-f]{12}")
SECRETS = ("digest", "password", "secret", "session_data", "session_key")


@pytest.fixture(autouse=True)
def folders(settings, tmp_path):
    for name in ("REPORTS_ROOT", "DEPOSITS_ROOT", "VALIDATED_ROOT"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        setattr(settings, name, folder)


def everything():
    """Return every row of every table as text, by table and primary key."""
    return {
        (model._meta.label, values[0]): repr(values)
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
        for values in model._base_manager.values_list("pk", *[field.attname for field in model._meta.concrete_fields])
    }


def naming(found, *names):
    """Return the rows that contain one of the names as a whole word."""
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)" for name in names), re.IGNORECASE)
    return sorted({key[0] for key, text in found.items() if pattern.search(text)})


def message(number, recipient, **fields):
    given = {
        "channel": "channel:1",
        "subject": "backup:7",
        "severity": 1,
        "title": "Late",
        "created_at": timezone.now(),
    }
    return OutboxMessage.objects.create(recipient=recipient, dedupe_key=f"m{number}", **given | fields)


def activity(who, source="portal"):
    now = timezone.now()
    UserSession.objects.create(
        user_email=who, source=source, session_start=now, ip="192.0.2.0/24", user_agent="Firefox 131"
    )
    FeatureUsage.objects.create(user_email=who, source=source, feature_name="upload", timestamp=now, success=True)
    UserError.objects.create(user_email=who, source=source, error_type="throttled", error_code=429, timestamp=now)


def guardian(*people):
    data = {"period": "2026-03-10 14:00 - 16:00", "users": [{"email": who, "requests_count": 3} for who in people]}
    now = timezone.now()
    return GuardianReport.objects.create(
        period_start=now, period_end=now, created_at=now, requested_by=people[0], data=data
    )


def incident_of(name, address):
    """Create an incident acknowledged by someone who also wrote its cause, after a note by someone else."""
    now, target = (
        timezone.now(),
        Target.objects.create(name=f"Mail of {address}", url=f"https://example.org/?u={address}"),
    )
    incident = Incident.objects.create(
        subject=target.subject,
        target=target,
        rule="unavailable",
        opened_at=now,
        acknowledged_by=name,
        cause="The UPS of the cellar",
        comment="I am in the cellar",
    )
    noted = {"incident": incident, "at": now, "kind": "noted"}
    IncidentEvent.objects.create(actor="operator", text=f"ask {name}, or {address}", **noted)
    IncidentEvent.objects.create(actor=name, text="The UPS of the cellar", **noted)
    return incident


def beta(participant, *named, source="public", taken_by="", **fields):
    """Create a participant's feedback, with their name in everything derived from it."""
    now, name = timezone.now(), named[0]
    programme = BetaProgramme.objects.create(name=f"Pilot of {name}", product=f"for {name}")
    given = {
        "programme": programme,
        "type": "ux",
        "given_at": now,
        "received_at": now,
        "source": source,
        "digest": "a1",
    }
    said = {"participant": participant, "comment": f"Ask {', or '.join(named)}.", "page": f"/of/{name}"}
    feedback = BetaFeedback.objects.create(feedback_id=uuid4(), **given | said | fields)
    feedback.tags.add(FeedbackTag.objects.get_or_create(name=f"for {name}".lower())[0])
    BetaSnapshot.objects.create(
        programme=programme, taken_at=now, verdict="NO-GO", reason="command", data=quoting(feedback)
    )
    return feedback


def quoting(*rows):
    bugs = [{"id": row.pk, "comment": row.comment, "page": row.page, "severity": "high"} for row in rows]
    return {"verdict": "NO-GO", "ux_comments": [row.comment for row in rows], "open_bugs": bugs}


def work(name):
    now = timezone.now()
    JobRun.objects.create(
        job="prune", cycle_key=name.swapcase()[::-1], result={"about": [name]}, error=f"ValueError: {name}"
    )
    TaskAttempt.objects.create(
        task_id=name[::-1][:32], name="beat", cluster="quick", started_at=now, error=f"for {name}"
    )
    Task.objects.create(
        id=f"t{name[::-1][:20]}",
        name="scan",
        func="x",
        args=(name, 1),
        kwargs={},
        result=f"failed for {name}",
        started=now,
        stopped=now,
    )


def plant_person(name, address, spelled):
    """Create a portal user who also uses a machine and an application; `spelled` is the address in another case."""
    now, user = timezone.now(), User.objects.create_superuser(name, spelled, first_name="Robert", last_name="Roy")
    User.objects.filter(pk=user.pk).update(password=f"slow$hash of {len(address)}")
    user.refresh_from_db()
    Client().force_login(user)
    EmailAddress.objects.create(user=user, email=spelled, verified=True)
    SocialAccount.objects.create(user=user, provider="oidc", uid=f"uid-{user.pk}", extra_data={"email": spelled})
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    Preferences.objects.create(user=user, time_zone="Europe/Paris")
    taken_on = {
        "severity": 1,
        "acknowledged_at": now,
        "acknowledged_by": name,
        "assignee": user,
        "comment": f"{name} looks",
    }
    FindingAcknowledgement.objects.create(key=f"backups.job:{user.pk}", **taken_on)
    admin_log = {"user": user, "content_type": ContentType.objects.get_for_model(User), "object_id": user.pk}
    LogEntry.objects.create(action_flag=2, object_repr=name, change_message="[]", **admin_log)
    issue_token("staff", user=user, actor=f"user:{name}")
    issue_token("client", label=address, actor=f"user:{name}")
    audit.record_event("target.changed", "target:Shop", actor=f"user:{name}", after={"fields": ["url"]})
    AuditEvent.objects.filter(actor=f"user:{name}").update(address="198.51.100.7")
    audit.record_event("refused.login", f"user:{spelled}", actor="anonymous")
    agent = Agent.objects.create(
        machine_id=f"M-{len(address)}", user_name="Robert Roy", user_email=spelled, user_id="rroy", hostname=f"{name}-laptop",
        enrolled_at=now, last_seen_at=now, uninstall_reason=f"{name} left",
    )  # fmt: skip
    person = {"user_name": "Robert Roy", "user_id": "rroy", "hostname": agent.hostname}
    audit.record_event("agent.enrolled", f"agent:{agent.machine_id}", actor="x", after=person | {"user_email": address})
    audit.record_event("agent.reactivated", f"agent:{agent.machine_id}", actor="x", after=person | {"version": "7"})
    for who in (address, spelled):
        activity(who)
    activity("", source=f"client:{address}")
    create_run(reported_by=f"client:{address}", machine_id="")
    guardian(address, "amy@example.org")
    Licence.objects.create(ref=f"LIC-{name}", customer=f"Robert Roy <{address}>")
    NotificationChannel.objects.create(name=f"to {address}", kind="email", addresses=f"{spelled}\namy@example.org")
    NotificationChannel.objects.create(
        name=f"apprise {len(address)}", kind="apprise", secret=encrypt(f"mailto://u:p@x?to={address}")
    )
    ChannelState.objects.create(
        channel=f"channel:{name}"[:20].swapcase()[::-1],
        last_error=f"550 <{address}> no such user",
        moved={"1": address},
    )
    message(f"{name}1", address)
    message(f"{name}1", spelled, status="sent", error=f"550 {address}")
    message(
        f"{name}2", "amy@example.org", title=f"{address} asked", text=f"Write to {spelled}.", html=f"<a>{address}</a>"
    )
    incident_of(name, address)
    MaintenanceWindow.objects.create(name=f"move of {address}", starts_at=now, ends_at=now + timedelta(hours=1))
    job = ExpectedBackupJob.objects.create(agent_id="SRV", database_name=f"db-{len(address)}", company_name=address)
    drill(job, entry(job, reasons=[{"code": "step_failed_saying", "text": f"mail to {address} failed"}]), address)
    beta(address.lower(), address, name, assignee=user, taken_by=name)
    work(address)
    return user


def entry(job, **fields):
    now = timezone.now()
    given = {"status": "FAILED", "first_status": "FAILED", "recorded_at": now, "changed_at": now, "cycle_at": now}
    return BackupEntry.objects.create(job=job, **given | fields)


def drill(job, drilled, name):
    """Create a drill that lost its proof, with the name in every text of it, and an assertion about it."""
    lost = [{"code": "assertion_false", "name": f"Orders of {name}"}]
    RestoreDrill.objects.create(
        job=job,
        entry=drilled,
        status="PROVEN",
        errors=[{"line": 7, "message": f'CREATE: relation "{name}" does not exist'}],
        warnings=[{"code": "foreign_keys_violated", "table": name}],
        losses=lost,
        assertions=[{"name": f"Orders of {name}", "ok": False, "value": None, "failed": False}],
        schema=f"CREATE TABLE a (b text DEFAULT '{name}');",
    )
    ExpectedBackupJob.objects.filter(pk=job.pk).update(proof_lost=lost)
    query = f"SELECT owner FROM orders WHERE owner = '{name}'"
    DrillAssertion.objects.create(job=job, name=f"Orders of {name}", query=query, expected=name)


def plant_machine(machine_id):
    now = timezone.now()
    agent = Agent.objects.create(
        machine_id=machine_id,
        user_name="Amy",
        user_email="amy@example.org",
        hostname=f"{machine_id}.lan",
        enrolled_at=now,
        last_seen_at=now,
    )
    issue_agent_token(agent)
    token, _ = issue_token("enroll", label="Douala", for_machine=machine_id.swapcase())
    asked = {"token": token, "address": "198.51.100.7", "asked_at": now, "last_asked_at": now}
    EnrolmentRequest.objects.create(machine_id=machine_id, **asked)
    audit.record_event(
        "agent.enrolled",
        f"agent:{machine_id}",
        actor=f"agent:{machine_id}",
        after={"user_name": "Amy", "hostname": machine_id},
    )
    audit.record_event("backups.paused", f"backup:{machine_id}/stock", actor="user:op", before={"machine": machine_id})
    its = AuditEvent.objects.filter(actor=f"agent:{machine_id}")
    its.update(address="198.51.100.7", dedupe_key=f"hash {machine_id}"[::-1])
    activity(f"agent:{machine_id}")
    activity("amy@example.org", source=f"agent:{machine_id}")
    create_run(machine_id=machine_id, reported_by=f"agent:{machine_id}", digest="a1" * 32)
    guardian(f"agent:{machine_id}")
    job = ExpectedBackupJob.objects.create(
        agent_id=machine_id, database_name="stock", final_storage_path_template="{agent_id}/{database_name}", company_name=f"where {machine_id} is",
    )  # fmt: skip
    drilled = entry(
        job, reasons=[{"code": "not_listed", "report": f"OPERATION_20260310_1400_{machine_id}.json"}], report_name=f"OPERATION_1_{machine_id}.json",
        stored_path=f"{machine_id}/stock/current_version/stock.sql.gz", promotion="promoted", staged_name="stock.sql.gz",
    )  # fmt: skip
    drill(job, drilled, machine_id)
    copied = {"state": "copied", "key": f"{machine_id}/stock/versions/x.sql.gz", "place": "s3.example.org/backups"}
    OffsiteCopy.objects.create(entry=drilled, **copied)
    DepositArea.objects.create(
        agent_id=machine_id, ahead={f"OPERATION_1_{machine_id}.json": "2026"}, trouble={"code": "x"}
    )
    Scan.objects.create(source="api", at=now, agent_id=machine_id)
    message(
        machine_id,
        "amy@example.org",
        subject=f"backup:{machine_id}/stock",
        title=f"Backup of {machine_id}: late",
        path=f"/x/?q={machine_id}",
    )
    LogEntry.objects.create(
        user=User.objects.create_user(f"of{machine_id}"[::-1]), action_flag=2, object_repr=machine_id
    )
    Target.objects.create(name=machine_id, url="https://example.org/")
    beta("amy@example.org", machine_id, source=f"agent:{machine_id}")
    work(machine_id)
    return agent


def erased(subject, *options):
    out = io.StringIO()
    call_command("erase_subject", subject, "--yes", *options, stdout=out)
    return out.getvalue()


def exported(subject):
    out = io.StringIO()
    call_command("export_subject", subject, stdout=out)
    return json.loads(out.getvalue())["tables"]


@pytest.fixture
def operator(db):
    return User.objects.create_superuser("operator", "operator@example.org")


@pytest.fixture
def bob(operator):
    """Create Bob, and two people whose addresses contain his."""
    plant_person("bobby", "bobby@example.org", "Bobby@Example.org")
    plant_person("bob.uk", "bob@example.org.uk", "Bob@Example.org.uk")
    untouched = everything()
    user = plant_person("bobroy", "bob@example.org", "Bob@Example.ORG")
    return user, untouched


@pytest.fixture
def machine(operator):
    plant_machine("PC-10")
    plant_machine("PC-1.lan")
    untouched = everything()
    return plant_machine("PC-1"), untouched


def same_but_for(before, after, changed=()):
    return [key for key, text in before.items() if after.get(key) != text and key not in changed]


class TestErasingPerson:
    def test_erased_person_is_named_nowhere(self, bob):
        planted = naming(everything(), "bob@example.org", "bobroy")
        assert len(planted) > 20, planted
        erased("bob@example.org")
        left = naming(everything(), "bob@example.org", "bobroy", "Robert Roy".replace(" ", "_"))
        # Data whose change would break an operator's configuration is reported instead.
        assert left == ["monitoring.Target"]

    def test_other_rows_are_unchanged_and_no_row_is_missing(self, bob):
        _, untouched = bob
        rows = everything()
        erased("bob@example.org")
        after = everything()
        assert same_but_for(untouched, after) == []
        gone = {key[0] for key in rows.keys() - after.keys()}
        assert gone == {
            *("sessions.Session", "usersessions.UserSession", "portal.SecondFactorGrace", "portal.Preferences"),
            *("account.EmailAddress", "socialaccount.SocialAccount", "mfa.Authenticator"),
        }
        assert {key[0] for key in after.keys() - rows.keys()} == {"portal.AuditEvent"}

    def test_same_pseudonym_replaces_the_person_everywhere(self, bob):
        said = erased("bob@example.org")
        found = {name for text in everything().values() for name in PSEUDONYM.findall(text)}
        assert len(found) == 1
        assert found.pop() in said

    def test_account_is_anonymised(self, bob):
        user, _ = bob
        erased("bob@example.org")
        user.refresh_from_db()
        assert PSEUDONYM.fullmatch(user.username)
        assert (user.email, user.first_name, user.last_name) == (user.username, "", "")
        assert not user.is_active
        assert not user.has_usable_password()
        tokens = ApiToken.objects.filter(user=user)
        assert {(token.revoked_reason, token.revoked_at is None) for token in tokens} == {("erased", False)}

    def test_application_token_with_their_name_keeps_working(self, bob):
        erased("bob@example.org")
        token = ApiToken.objects.get(kind="client", label__startswith="erased-")
        assert token.revoked_at is None
        assert token.created_by == f"user:{token.label}"

    def test_their_machine_no_longer_names_its_owner(self, bob):
        erased("bob@example.org")
        agent = Agent.objects.get(machine_id="M-15")
        assert PSEUDONYM.fullmatch(agent.user_email)
        assert (agent.user_name, agent.user_id, agent.hostname, agent.uninstall_reason) == ("", "", "", "")
        for event in AuditEvent.objects.filter(subject="agent:M-15"):
            assert event.after.get("user_name") == ""
            assert "Robert" not in repr(event.after)
        assert AuditEvent.objects.get(subject="agent:M-15", action="agent.reactivated").after["version"] == "7"

    def test_their_addresses_are_erased(self, bob):
        erased("bob@example.org")
        own = UserSession.objects.filter(user_email__startswith="erased-")
        assert set(own.values_list("ip", "user_agent")) == {("", "")}
        assert own.count() == 3
        assert not AuditEvent.objects.filter(actor__startswith="user:erased-").exclude(address="").exists()

    def test_their_texts_are_erased_and_others_texts_stay(self, bob):
        erased("bob@example.org")
        incident = Incident.objects.get(acknowledged_by__startswith="erased-")
        name = incident.acknowledged_by
        assert (incident.cause, incident.comment) == ("", "")
        assert list(incident.timeline.values_list("actor", "text")) == [
            ("operator", f"ask {name}, or {name}"),
            (name, ""),
        ]

    def test_pending_messages_to_them_are_never_sent(self, bob):
        erased("bob@example.org")
        mine = OutboxMessage.objects.filter(recipient__startswith="erased-")
        assert set(mine.values_list("status", flat=True)) == {"given_up", "sent"}
        assert OutboxMessage.objects.filter(recipient="amy@example.org", status="waiting").count() == 3

    def test_assertions_that_named_them_in_two_spellings_keep_different_names(self, bob):
        job = ExpectedBackupJob.objects.get(company_name="bob@example.org")
        names = ["Orders of Bob@Example.org", f"{'x' * 112} bob@example.org"]
        for name in names:
            DrillAssertion.objects.create(job=job, name=name, query="SELECT 1", expected="1")
        erased("bob@example.org")
        found = DrillAssertion.objects.filter(job=job).values_list("name", flat=True)
        assert [bool(re.search(r" \d+$", name)) for name in found] == [True] * 3
        assert max(map(len, found)) == 128

    def test_channel_still_notifies_its_other_recipients(self, bob):
        said = erased("bob@example.org")
        channel = NotificationChannel.objects.get(name__startswith="to erased-")
        assert channel.addresses == "amy@example.org"
        assert f"removed from notification channel {channel.pk}" in said
        assert said.count("contains this name: enter another secret") == 1

    def test_person_without_an_address_is_erased_by_user_name(self, operator):
        User.objects.create_user("carol")
        audit.record_event("target.changed", "target:Shop", actor="user:carol")
        activity("carol")
        erased("user:carol")
        assert naming(everything(), "carol") == []

    def test_both_accounts_of_one_address_are_erased(self, operator):
        User.objects.create_user("bob", "bob@example.org")
        User.objects.create_user("bob2", "BOB@example.org")
        erased("bob@example.org")
        assert naming(everything(), "bob@example.org", "bob2") == []
        assert User.objects.filter(is_active=False, username__startswith="erased-").count() == 2

    def test_erasing_the_last_active_superuser_is_refused(self, operator):
        User.objects.create_superuser("gone", is_active=False)
        before = everything()
        with pytest.raises(CommandError, match="last active superuser"):
            erased("operator@example.org")
        assert everything() == before


class TestErasingMachine:
    def test_erased_machine_is_named_nowhere(self, machine):
        planted = naming(everything(), "PC-1")
        assert len(planted) > 15, planted
        erased("PC-1")
        assert naming(everything(), "PC-1") == []
        assert not [text for key, text in everything().items() if "1400_PC-1.json" in text]

    def test_other_rows_are_unchanged_and_no_row_is_missing(self, machine):
        _, untouched = machine
        rows = everything()
        erased("PC-1")
        after = everything()
        assert same_but_for(untouched, after) == []
        assert rows.keys() - after.keys() == set()

    def test_erased_machine_is_uninstalled_and_its_tokens_revoked(self, machine):
        agent, _ = machine
        erased("PC-1")
        agent.refresh_from_db()
        assert PSEUDONYM.fullmatch(agent.machine_id)
        assert (agent.status, agent.user_email, agent.user_name, agent.hostname) == ("uninstalled", "", "", "")
        token = ApiToken.objects.get(machine__agent=agent)
        assert (token.label, token.revoked_reason) == (agent.machine_id, "erased")
        assert token.revoked_at is not None

    def test_every_spelling_of_the_machine_name_is_erased(self, machine):
        create_run(machine_id="pc-1", reported_by="client:gui")
        create_run(machine_id="Pc-1", reported_by="agent:pc-1")
        activity("agent:pc-1")
        shown = exported("PC-1")
        assert exported("pC-1") == shown
        assert len(shown["usage.Run"]) == 3
        erased("pC-1")
        assert naming(everything(), "PC-1") == []

    def test_both_machines_of_a_renamed_pair_are_erased(self, operator, make_agent):
        make_agent("PC-1", user_name="Amy")
        make_agent("pc-1", owns_name=False, user_name="Amy")
        for name in ("PC-1", "pc-1"):
            for database in ("stock", "sales"):
                ExpectedBackupJob.objects.create(agent_id=name, database_name=database, expected_hour_utc=1)
            DepositArea.objects.create(agent_id=name)
        erased("PC-1")
        assert naming(everything(), "PC-1", "Amy") == []
        assert Agent.objects.filter(status="uninstalled").count() == 2

    def test_token_of_an_erased_machine_is_refused(self, operator, agent, agent_token, call):
        assert call("POST", "agents/heartbeat", agent_token).status_code == 200
        erased(agent.machine_id)
        assert call("POST", "agents/heartbeat", agent_token).status_code == 401

    def test_backups_of_an_erased_machine_are_not_expected(self, machine, settings):
        (settings.DEPOSITS_ROOT / "pc-1").mkdir()
        (settings.VALIDATED_ROOT / "PC-1" / "stock").mkdir(parents=True)
        said = erased("PC-1")
        job = ExpectedBackupJob.objects.get(agent_id__startswith="erased-")
        assert not job.is_active
        assert job.storage_folder == f"{job.agent_id}/stock"
        kept_entry = job.entries.get()
        assert (kept_entry.stored_path, kept_entry.promotion) == ("", "none")
        assert str(settings.DEPOSITS_ROOT / "pc-1") in said
        assert str(settings.VALIDATED_ROOT / "PC-1" / "stock") in said

    def test_no_hash_of_the_machine_name_is_left(self, machine):
        erased("PC-1")
        assert Run.objects.get(machine_id__startswith="erased-").digest == ""
        assert not AuditEvent.objects.filter(actor__startswith="agent:erased-").exclude(dedupe_key=None).exists()

    def test_users_of_an_erased_machine_stay(self, machine):
        erased("PC-1")
        told = FeatureUsage.objects.get(source__startswith="agent:erased-")
        assert told.user_email == "amy@example.org"


class TestReportFile:
    def test_report_on_disk_is_rewritten(self, operator, settings):
        path = settings.REPORTS_ROOT / "usage_report.json"
        path.write_text(json.dumps({"users": [{"email": "Bob@example.org"}, {"email": "bobby@example.org"}]}))
        assert exported("bob@example.org") == {
            "usage_report.json": [{"file": "usage_report.json", "data": {"users": [{"email": "Bob@example.org"}]}}]
        }
        erased("bob@example.org")
        emails = [user["email"] for user in json.loads(path.read_text())["users"]]
        assert PSEUDONYM.fullmatch(emails[0])
        assert emails[1] == "bobby@example.org"
        assert [found.name for found in settings.REPORTS_ROOT.iterdir()] == ["usage_report.json"]
        assert exported("bob@example.org") == {}

    def test_malformed_report_naming_the_person_is_removed(self, operator, settings):
        path = settings.REPORTS_ROOT / "usage_report.json"
        path.write_text("{bob@example.org")
        erased("bob@example.org")
        assert not path.exists()

    def test_unwritable_report_is_reported_and_erased_later(self, operator, settings, monkeypatch):
        path = settings.REPORTS_ROOT / "usage_report.json"
        path.write_text('{"users": [{"email": "bob@example.org"}]}')
        activity("bob@example.org")

        def full(*args):
            raise OSError(28, "No space left on device", str(path))

        with monkeypatch.context() as patch:
            patch.setattr("usage.privacy.write_whole", full)
            with pytest.raises(CommandError, match="No space left on device"):
                erased("bob@example.org")
        erased("bob@example.org")
        assert "bob" not in path.read_text()
        assert naming(everything(), "bob@example.org") == []

    def test_report_without_the_person_is_unchanged(self, operator, settings):
        path = settings.REPORTS_ROOT / "usage_report.json"
        path.write_text('{"users":   []}')
        erased("bob@example.org")
        assert path.read_text() == '{"users":   []}'


class TestExport:
    def test_export_of_a_person_covers_every_table_and_is_empty_after_erasure(self, bob):
        tables = exported("bob@example.org")
        named = set(naming(everything(), "bob@example.org", "bobroy")) | {"sessions.Session"}
        assert named - {"auth.User_groups"} <= tables.keys()
        erased("bob@example.org")
        assert exported("bob@example.org").keys() == {"monitoring.Target"}

    def test_export_of_a_machine_covers_every_table_and_is_empty_after_erasure(self, machine):
        tables = exported("PC-1")
        assert set(naming(everything(), "PC-1")) | {"agents.MachineToken", "backups.BackupEntry"} <= tables.keys()
        erased("PC-1")
        assert exported("PC-1") == {}

    def test_export_names_nobody_else(self, bob):
        text = json.dumps(exported("bob@example.org"))
        assert "bobby" not in text
        assert "org.uk" not in text
        assert [row["addresses"] for row in exported("bob@example.org")["portal.NotificationChannel"]] == [
            "Bob@Example.ORG"
        ]
        [report] = exported("bob@example.org")["usage.GuardianReport"]
        assert report["data"]["users"] == [{"email": "bob@example.org", "requests_count": 3}]

    def test_export_contains_no_secret(self, bob):
        tables = exported("bob@example.org")
        assert not [name for rows in tables.values() for row in rows for name in row if name in SECRETS]
        assert "slow$hash" not in json.dumps(tables)

    def test_export_contains_each_row_once(self, machine):
        for label, rows in exported("PC-1").items():
            ids = [row.get("id", row.get("token_id")) for row in rows]
            assert len(ids) == len(set(ids)), label

    def test_every_declared_store_has_planted_data(self, bob):
        plant_machine("PC-1")
        shown = exported("bob@example.org").keys() | exported("PC-1").keys()
        assert {holding.label for holding in personal_data.all()} - shown == {"usage_report.json", "beta_report_*.txt"}


class TestCommands:
    def test_second_erasure_changes_nothing(self, bob):
        erased("bob@example.org")
        before = everything()
        assert "No data about" in erased("bob@example.org")
        assert everything() == before

    def test_dry_run_prints_counts_and_changes_nothing(self, bob):
        before = everything()
        would = erased("bob@example.org", "--dry-run")
        assert everything() == before
        counts = dict(re.findall(r"^(\S+) +(\d+)$", would, re.MULTILINE))
        assert counts["usage.FeatureUsage"] == "3"
        assert dict(re.findall(r"^(\S+) +(\d+)$", erased("bob@example.org"), re.MULTILINE)).keys() == counts.keys()

    def test_erasure_asks_for_confirmation(self, bob, monkeypatch):
        before = everything()
        monkeypatch.setattr("builtins.input", lambda prompt: "n")
        out = io.StringIO()
        call_command("erase_subject", "bob@example.org", stdout=out)
        assert "Nothing was erased" in out.getvalue()
        assert everything() == before

    @pytest.mark.parametrize("command", ["erase_subject", "export_subject"])
    def test_invalid_subject_exits_with_two(self, operator, command):
        with pytest.raises(CommandError, match="is expected") as refused:
            call_command(command, "not an address")
        assert refused.value.returncode == 2

    def test_audit_trail_names_only_the_pseudonym(self, bob):
        erased("bob@example.org")
        event = AuditEvent.objects.get(action="privacy.erased")
        assert PSEUDONYM.fullmatch(event.subject)
        assert event.after["usage.FeatureUsage"] == 3
        assert event.actor == "command line"

    def test_next_erasure_of_a_subject_uses_a_new_pseudonym(self, operator):
        names = []
        for _ in range(2):
            activity("bob@example.org")
            names += PSEUDONYM.findall(erased("bob@example.org"))
        assert len(set(names)) == 2
        assert not JobRun.objects.filter(job=erasing.JOB).exists()


class TestInterruptedErasure:
    @pytest.mark.parametrize("writes", [1, 5, 12, 20, 30])
    def test_interrupted_erasure_continues_under_the_same_pseudonym(self, bob, monkeypatch, writes):
        left, rewrite = [writes], PersonalDataTable.rewrite

        def failing(*args):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            return rewrite(*args)

        monkeypatch.setattr(PersonalDataTable, "rewrite", failing)
        with pytest.raises(KeyboardInterrupt):
            erased("bob@example.org")
        run = JobRun.objects.get(job=erasing.JOB)
        assert run.status == "failed"
        assert "bob" not in run.error
        said = erased("bob@example.org")
        assert run.result["pseudonym"] in said
        assert naming(everything(), "bob@example.org", "bobroy") == ["monitoring.Target"]
        assert {name for text in everything().values() for name in PSEUDONYM.findall(text)} == {run.result["pseudonym"]}

    def test_second_simultaneous_erasure_is_refused(self, bob):
        lease = erasing.claim_erasure(parse_subject("bob@example.org"))
        with pytest.raises(CommandError, match="erasing this data now"):
            erased("BOB@example.org")
        JobRun.objects.filter(pk=lease.pk).update(holder=f"{processes.HOST}:1:0")
        assert "rows changed" in erased("bob@example.org")


def test_identical_changes_are_written_in_batches(operator):
    now = timezone.now()
    FeatureUsage.objects.bulk_create(
        FeatureUsage(user_email="bob@example.org", feature_name="x", timestamp=now, success=True) for _ in range(1_100)
    )
    with CaptureQueriesContext(connection) as queries:
        erased("bob@example.org")
    updates = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "usage_featureusage"')]
    assert len(updates) == 3
    assert FeatureUsage.objects.filter(user_email__startswith="erased-").count() == 1_100


def test_long_tables_are_searched_by_index(operator):
    with CaptureQueriesContext(connection) as queries:
        erased("bob@example.org")
    read = [
        query["sql"]
        for query in queries
        if re.search(r'FROM "usage_(run|featureusage|usererror|usersession)".*AS (text|TEXT)', query["sql"])
    ]
    assert read == []
