"""Machines, accounts and logins of the same name: erasing or exporting one leaves the others alone."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.models import Agent
from backups.models import DepositArea, ExpectedBackupJob, Scan
from monitoring.models import Incident, IncidentEvent, Target
from portal import audit
from portal.access.tokens.issuing import issue_token
from portal.models import ApiToken, AuditEvent
from tests.privacy.test_erasure import PSEUDONYM, activity, erased, everything, exported, folders, operator
from usage.models import FeatureUsage, Run, UserError, UserSession
from usage.tests.factories import create_run

pytestmark = pytest.mark.django_db
__all__ = ["folders", "operator"]


def machine(machine_id, **fields):
    now = timezone.now()
    return Agent.objects.create(machine_id=machine_id, enrolled_at=now, last_seen_at=now, **fields)


def all_of_a_machine(machine_id):
    issue_agent_token(machine(machine_id, user_email="carol@example.org", user_name="Carol"))
    audit.record_event("agent.enrolled", f"agent:{machine_id}", actor=f"agent:{machine_id}")
    audit.record_event("backups.paused", f"backup:{machine_id}/stock", actor="user:operator")
    ExpectedBackupJob.objects.create(agent_id=machine_id, database_name="stock")
    DepositArea.objects.create(agent_id=machine_id, trouble={"code": "x"})
    Scan.objects.create(source="api", at=timezone.now(), agent_id=machine_id)
    activity(f"agent:{machine_id}", source=f"agent:{machine_id}")
    create_run(machine_id=machine_id, reported_by=f"agent:{machine_id}", digest="a1" * 32)


def all_of_a_person(name):
    issue_token("client", label=name, actor=f"user:{name}")
    # What this says of the label could be anything's name.
    AuditEvent.objects.filter(action="token.issued").delete()
    audit.record_event("target.changed", "target:Shop", actor=f"user:{name}")
    AuditEvent.objects.filter(actor=f"user:{name}").update(address="198.51.100.7")
    audit.record_event("user.logged_in", f"user:{name}", actor=f"user:{name}")
    activity(name, source=f"client:{name}")
    activity(f"client:{name}")
    create_run(machine_id="", reported_by=f"client:{name}")
    target, now = Target.objects.create(name="Shop", url="https://example.org/"), timezone.now()
    incident = Incident.objects.create(
        subject=target.subject, target=target, rule="unavailable", opened_at=now, acknowledged_by=name, cause="The UPS"
    )
    IncidentEvent.objects.create(incident=incident, at=now, kind="noted", actor=name, text="The UPS")


class TestMachineNamedLikeAccount:
    def test_erasing_an_account_keeps_the_machine_of_that_name(self, operator):
        User.objects.create_user("alice", "alice@example.org")
        all_of_a_machine("alice")
        before = everything()
        before.pop(("auth.User", User.objects.get(username="alice").pk))
        erased("alice@example.org")
        after = everything()
        assert [key for key, text in before.items() if after[key] != text] == []

    def test_own_machine_of_an_erased_account_keeps_working(self, operator):
        User.objects.create_user("alice", "alice@example.org")
        agent = machine("alice", user_email="alice@example.org", hostname="alice-laptop")
        erased("alice@example.org")
        agent.refresh_from_db()
        assert (agent.machine_id, agent.status, agent.hostname) == ("alice", "active", "")
        assert PSEUDONYM.fullmatch(agent.user_email)

    def test_export_of_an_account_omits_the_machine_of_that_name(self, operator):
        User.objects.create_user("alice", "alice@example.org")
        all_of_a_machine("alice")
        assert exported("user:alice").keys() == {"auth.User"}

    def test_erasing_a_machine_keeps_the_account_of_that_name_and_its_actions(self, operator):
        User.objects.create_superuser("alice", "alice@example.org")
        all_of_a_person("alice")
        before = everything()
        machine("alice")
        assert exported("alice").keys() == {"agents.Agent"}
        erased("agent:alice")
        after = everything()
        assert [key for key, text in before.items() if after[key] != text] == []
        assert PSEUDONYM.fullmatch(Agent.objects.get().machine_id)

    def test_erasing_both_leaves_nothing_of_either(self, operator):
        User.objects.create_superuser("alice", "alice@example.org")
        all_of_a_person("alice")
        all_of_a_machine("alice")
        erased("agent:alice")
        erased("alice@example.org")
        assert [key for key, text in everything().items() if "alice" in text] == []
        assert ApiToken.objects.get(kind="client").revoked_at is None
        assert ApiToken.objects.get(kind="agent").revoked_reason == "erased"
        assert Run.objects.get(reported_by__startswith="agent:").digest == ""


class TestLoginNamedLikeAccount:
    @pytest.mark.parametrize("column", ["user_name", "user_id"])
    def test_machine_still_belongs_to_the_address_it_carries(self, operator, column):
        User.objects.create_user("admin2", "boss@example.org")
        machine("PC-9", user_email="carol@example.org", hostname="pc9", **{column: "admin2"})
        before = everything()
        assert "agents.Agent" not in exported("boss@example.org")
        erased("boss@example.org")
        after = everything()
        assert [key[0] for key, text in before.items() if after[key] != text] == ["auth.User"]

    @pytest.mark.parametrize("column", ["user_name", "user_id"])
    def test_machine_without_an_address_belongs_to_its_login(self, operator, column):
        User.objects.create_user("admin2", "boss@example.org")
        agent = machine("PC-9", hostname="boss-laptop", **{column: "admin2"})
        erased("boss@example.org")
        agent.refresh_from_db()
        assert PSEUDONYM.fullmatch(agent.user_email)
        assert (agent.user_name, agent.user_id, agent.hostname) == ("", "", "")


class TestApplicationNamedAfterPerson:
    def test_export_of_a_person_omits_other_users_of_the_application(self, operator):
        issue_token("client", label="bob@example.org")
        activity("amy@example.org", source="client:bob@example.org")
        activity("bob@example.org")
        tables = exported("bob@example.org")
        assert "amy@example.org" not in json.dumps(tables)
        sessions = [(row["user_email"], row["ip"], row["user_agent"]) for row in tables["usage.UserSession"]]
        assert sorted(sessions) == [("", "", ""), ("bob@example.org", "192.0.2.0/24", "Firefox 131")]

    def test_export_of_a_machine_omits_its_users(self, operator):
        machine("PC-1")
        activity("amy@example.org", source="agent:PC-1")
        assert "amy@example.org" not in json.dumps(exported("PC-1"))
        erased("PC-1")
        for model in (FeatureUsage, UserError, UserSession):
            assert model.objects.get().user_email == "amy@example.org"
