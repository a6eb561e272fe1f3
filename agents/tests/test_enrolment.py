"""Enrolment, reactivation, replay, rotation and uninstallation."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from agents import enrolment
from agents.enrolment import issue_agent_token
from agents.models import Agent
from portal.access.tokens.issuing import issue_token
from portal.base.moments import format_iso
from portal.base.problems import Problem
from portal.models import ApiToken, AuditEvent

pytestmark = pytest.mark.django_db
FACTS = {
    "machine_id": "PC-LYON-07",
    "user_name": "Alice Martin",
    "user_email": "alice@example.org",
    "user_id": "AIVA-001",
    "hostname": "pc-lyon-07",
    "os_info": "Windows 11 23H2",
    "version": "1.4.2",
}


def test_new_machine_gets_its_token(call, enroll_token):
    answer = call("POST", "agents/enroll", enroll_token, **FACTS)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body["status"] == "enrolled"
    assert body["machine_id"] == "PC-LYON-07"
    assert body["agent"] == FACTS | {
        "status": "active",
        "enrolled_at": body["agent"]["enrolled_at"],
        "last_seen_at": body["agent"]["enrolled_at"],
        "uninstalled_at": None,
        "uninstall_reason": None,
        "liveness": "online",
    }
    assert call("POST", "agents/heartbeat", body["api_token"]).status_code == 200


def test_token_is_not_stored(call, enroll_token):
    token = call("POST", "agents/enroll", enroll_token, **FACTS).json()["api_token"]
    secret = token.split("_")[3]
    stored = [*ApiToken.objects.values_list(), *AuditEvent.objects.values_list(), *Agent.objects.values_list()]
    assert secret not in repr(stored)


def test_active_machine_is_refused_without_token(call, enroll_token):
    call("POST", "agents/enroll", enroll_token, **FACTS)
    answer = call("POST", "agents/enroll", enroll_token, **FACTS)
    assert answer.status_code == 409
    assert answer.json()["code"] == "agent_already_active"
    assert answer.json()["agent"]["machine_id"] == "PC-LYON-07"
    assert "vigie_" not in answer.content.decode()


def test_refused_enrolment_uses_up_nothing(call, agent):
    token, plain = issue_token("enroll", max_uses=1)
    assert call("POST", "agents/enroll", plain, machine_id=agent.machine_id).status_code == 409
    assert call("POST", "agents/enroll", plain, machine_id="").status_code == 400
    token.refresh_from_db()
    assert token.uses == 0
    assert call("POST", "agents/enroll", plain, machine_id="PC-2").status_code == 201


def test_exhausted_token_is_refused(call):
    plain = issue_token("enroll", max_uses=1)[1]
    call("POST", "agents/enroll", plain, machine_id="PC-1")
    answer = call("POST", "agents/enroll", plain, machine_id="PC-2")
    assert (answer.status_code, answer.json()["code"]) == (403, "token_exhausted")
    assert not Agent.objects.filter(machine_id="PC-2").exists()


def test_exhausted_token_reveals_no_active_machine(call, agent):
    token, plain = issue_token("enroll", max_uses=1)
    ApiToken.objects.filter(pk=token.pk).update(uses=1)
    answer = call("POST", "agents/enroll", plain, machine_id=agent.machine_id)
    assert (answer.json()["code"], answer.json().get("agent")) == ("token_exhausted", None)


class TestReplay:
    def enrol(self, call, token, **fields):
        return call("POST", "agents/enroll", token, machine_id="PC-1", enrollment_id="5d9c", **fields)

    def test_same_enrolment_is_replayed_with_a_new_token(self, call):
        plain = issue_token("enroll", max_uses=1)[1]
        first = self.enrol(call, plain).json()
        again = self.enrol(call, plain)
        assert (again.status_code, again.json()["status"]) == (201, "replayed")
        assert again.json()["agent"]["enrolled_at"] == first["agent"]["enrolled_at"]
        assert call("POST", "agents/heartbeat", again.json()["api_token"]).status_code == 200
        assert call("POST", "agents/heartbeat", first["api_token"]).json()["code"] == "token_revoked"
        assert ApiToken.objects.get(kind="enroll").uses == 1

    def test_used_token_prevents_replay(self, call, enroll_token):
        first = self.enrol(call, enroll_token).json()
        call("POST", "agents/heartbeat", first["api_token"])
        assert self.enrol(call, enroll_token).status_code == 409

    def test_other_enrolment_token_prevents_replay(self, call, enroll_token):
        self.enrol(call, enroll_token)
        assert self.enrol(call, issue_token("enroll")[1]).status_code == 409

    def test_other_enrollment_id_prevents_replay(self, call, enroll_token):
        self.enrol(call, enroll_token)
        answer = call("POST", "agents/enroll", enroll_token, machine_id="PC-1", enrollment_id="other")
        assert answer.status_code == 409

    def test_missing_enrollment_id_prevents_replay(self, call, enroll_token):
        call("POST", "agents/enroll", enroll_token, machine_id="PC-1")
        assert call("POST", "agents/enroll", enroll_token, machine_id="PC-1").status_code == 409

    @pytest.mark.parametrize(
        ("ago", "status"), [(timedelta(hours=23, minutes=59), 201), (timedelta(hours=24, seconds=5), 409)]
    )
    def test_replay_is_possible_for_24_hours(self, call, enroll_token, ago, status):
        self.enrol(call, enroll_token)
        Agent.objects.update(enrolled_at=timezone.now() - ago)
        assert self.enrol(call, enroll_token).status_code == status

    def test_reactivation_is_replayed_too(self, call, agent, enroll_token):
        enrolment.uninstall_machine(agent.machine_id, "", None, None)
        assert self.enrol(call, enroll_token).json()["status"] == "reactivated"
        assert self.enrol(call, enroll_token).json()["status"] == "replayed"


class TestOwnToken:
    def test_own_token_renews_itself(self, call, agent, agent_token):
        answer = call("POST", "agents/enroll", agent_token, machine_id="PC-1", version="2.0")
        assert (answer.status_code, answer.json()["status"]) == (201, "replayed")
        assert answer.json()["agent"]["version"] == "2.0"
        assert call("POST", "agents/heartbeat", answer.json()["api_token"]).status_code == 200
        assert call("POST", "agents/heartbeat", agent_token).status_code == 200

    def test_own_token_enrols_no_other_machine(self, call, agent_token):
        answer = call("POST", "agents/enroll", agent_token, machine_id="PC-2")
        assert (answer.status_code, answer.json()["code"]) == (403, "machine_mismatch")
        assert not Agent.objects.filter(machine_id="PC-2").exists()


class TestAllowedReenrolment:
    def test_reenrolment_happens_once_and_revokes_old_token(self, call, agent, agent_token, enroll_token):
        Agent.objects.update(reenrolment_until=timezone.now() + timedelta(minutes=15))
        answer = call("POST", "agents/enroll", enroll_token, machine_id="PC-1")
        assert (answer.status_code, answer.json()["status"]) == (201, "enrolled")
        assert call("POST", "agents/heartbeat", agent_token).json()["code"] == "token_revoked"
        assert call("POST", "agents/enroll", enroll_token, machine_id="PC-1").status_code == 409

    def test_reenrolment_expires_after_15_minutes(self, call, agent, enroll_token):
        Agent.objects.update(reenrolment_until=timezone.now() - timedelta(seconds=1))
        assert call("POST", "agents/enroll", enroll_token, machine_id="PC-1").status_code == 409

    def test_operator_sees_the_deadline(self, agent, rf):
        until = enrolment.allow_reenrolment(agent, rf.post("/"))
        agent.refresh_from_db()
        assert agent.reenrolment_until == until
        assert timedelta(minutes=14) < until - timezone.now() <= timedelta(minutes=15)
        assert AuditEvent.objects.get().action == "agent.reenrolment_allowed"


class TestReactivation:
    @pytest.fixture
    def gone(self, make_agent):
        agent = make_agent(user_name="Alice", version="1.0", enrolled_at=timezone.now() - timedelta(days=90))
        return enrolment.uninstall_machine(agent.machine_id, "replaced", None, None)

    def test_sent_fields_replace_and_absent_ones_stay(self, call, gone, enroll_token):
        answer = call("POST", "agents/enroll", enroll_token, machine_id="PC-1", version="2.0", hostname=None)
        body = answer.json()
        assert (answer.status_code, body["status"]) == (201, "reactivated")
        assert (body["agent"]["user_name"], body["agent"]["version"]) == ("Alice", "2.0")
        assert (body["agent"]["uninstalled_at"], body["agent"]["uninstall_reason"]) == (None, None)
        assert Agent.objects.get().enrolled_at > gone.uninstalled_at

    def test_caller_may_forbid_reactivation(self, call, gone, enroll_token):
        answer = call("POST", "agents/enroll", enroll_token, machine_id="PC-1", allow_reactivate=False)
        assert (answer.status_code, answer.json()["code"]) == (409, "reactivation_forbidden")
        assert Agent.objects.get().status == "uninstalled"


class TestRotation:
    def test_old_token_stays_valid_for_24_hours(self, call, agent_token):
        answer = call("POST", "agents/token/rotate", agent_token)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert call("POST", "agents/heartbeat", answer.json()["api_token"]).status_code == 200
        assert call("POST", "agents/heartbeat", agent_token).status_code == 200
        ApiToken.objects.filter(expires_at__isnull=False).update(expires_at=timezone.now())
        assert call("POST", "agents/heartbeat", agent_token).json()["code"] == "token_expired"

    def test_unused_successors_are_revoked(self, call, agent_token):
        lost, used, last = (call("POST", "agents/token/rotate", agent_token).json()["api_token"] for _ in range(3))
        assert call("POST", "agents/heartbeat", last).status_code == 200
        assert [call("POST", "agents/heartbeat", token).json()["code"] for token in (lost, used)] == [
            "token_revoked"
        ] * 2

    def test_rotation_never_extends_validity(self, call, agent):
        soon = timezone.now() + timedelta(hours=1)
        token = issue_agent_token(agent, expires_at=soon)
        call("POST", "agents/token/rotate", token)
        assert ApiToken.objects.get(expires_at__isnull=False).expires_at == soon


class TestSimultaneousUninstall:
    """An uninstallation between authentication and the lock on the machine."""

    @pytest.fixture
    def let_in(self, agent, agent_token):
        token = ApiToken.objects.select_related("machine__agent").get(kind="agent")
        enrolment.uninstall_machine(agent.machine_id, "", None, None)
        return token

    def test_rotation_gets_no_token(self, let_in, rf):
        with pytest.raises(Problem, match="token_revoked"):
            enrolment.rotate_token(let_in.machine.agent, let_in, rf.post("/"))
        assert not ApiToken.objects.usable(timezone.now()).exists()

    def test_own_token_does_not_reactivate(self, let_in, rf):
        with pytest.raises(Problem, match="token_revoked"):
            enrolment.enrol_machine({"machine_id": "PC-1"}, let_in, rf.post("/"))
        assert not Agent.objects.get().is_active


class TestUninstall:
    def test_uninstall_revokes_tokens_and_is_idempotent(self, call, agent, agent_token):
        other = issue_agent_token(agent)
        for _ in range(2):
            answer = call("POST", "agents/uninstall", agent_token, machine_id="PC-1", reason="replaced")
            assert (answer.status_code, answer.json()["status"]) == (200, "uninstalled")
            assert answer.json()["agent"]["uninstall_reason"] == "replaced"
        assert call("POST", "agents/heartbeat", agent_token).json()["code"] == "token_revoked"
        assert call("POST", "agents/uninstall", other, machine_id="PC-1").json()["code"] == "token_revoked"

    def test_repeated_uninstall_keeps_first_reason_and_time(self, call, agent, staff_token):
        first = call("POST", "agents/uninstall", staff_token, machine_id="PC-1", reason="a").json()
        again = call("POST", "agents/uninstall", staff_token, machine_id="PC-1", reason="b").json()
        assert first == again

    def test_repetition_is_refused_once_machine_is_back(self, call, agent, agent_token, enroll_token):
        call("POST", "agents/uninstall", agent_token, machine_id="PC-1")
        call("POST", "agents/enroll", enroll_token, machine_id="PC-1")
        answer = call("POST", "agents/uninstall", agent_token, machine_id="PC-1")
        assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")
        assert Agent.objects.get().is_active

    def test_enrolment_token_needs_the_scope(self, call, agent, enroll_token):
        refused = call("POST", "agents/uninstall", enroll_token, machine_id="PC-1")
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        allowed = issue_token("enroll", scopes=["uninstall"])[1]
        assert call("POST", "agents/uninstall", allowed, machine_id="PC-1").status_code == 200

    def test_staff_without_the_permission_uninstall_no_machine(self, call, agent):
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_agent"))
        answer = call("POST", "agents/uninstall", issue_token("staff", user=viewer)[1], machine_id="PC-1")
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert Agent.objects.get().is_active

    def test_unknown_machine_is_agent_unknown(self, call, staff_token):
        answer = call("POST", "agents/uninstall", staff_token, machine_id="PC-404")
        assert (answer.status_code, answer.json()["code"]) == (404, "agent_unknown")

    def test_machine_uninstalls_no_other(self, call, agent_token, make_agent):
        make_agent("PC-2")
        answer = call("POST", "agents/uninstall", agent_token, machine_id="PC-2")
        assert (answer.status_code, answer.json()["code"]) == (403, "machine_mismatch")


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "machine_id",
    ["", "   ", "x" * 129, "-PC", ".PC", "PC\n1", "PC\x00", "PC 1", "PC/1", "PC\\1", "é", "\ud800", "PC\u202e", None, 7, True, ["PC"], {}],
)  # fmt: skip
def test_invalid_machine_id_is_refused(call, enroll_token, machine_id):
    answer = call("POST", "agents/enroll", enroll_token, body={"machine_id": machine_id})
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    assert [error["field"] for error in answer.json()["errors"]] == ["machine_id"]
    assert not Agent.objects.exists()


@pytest.mark.parametrize("machine_id", ["P", "x" * 128, " PC-1 ", "agent_douala_prod_01", "a:b.c_d-E"])
def test_machine_id_is_trimmed(call, enroll_token, machine_id):
    answer = call("POST", "agents/enroll", enroll_token, machine_id=machine_id)
    assert (answer.status_code, answer.json().get("machine_id")) == (201, machine_id.strip())


@pytest.mark.parametrize(
    ("field", "value"),
    [("user_name", 815), ("allow_reactivate", "yeah"), ("allow_reactivate", 4711), ("enrollment_id", ["canary"]),
     ("enrollment_id", "x" * 129), ("enrollment_id", "17\r18")],
)  # fmt: skip
def test_error_names_the_field_without_its_value(call, enroll_token, field, value):
    answer = call("POST", "agents/enroll", enroll_token, body={"machine_id": "PC-1", field: value})
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert json.dumps(value)[:20] not in answer.content.decode()


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [("user_name", "x" * 201, "x" * 200), ("version", "1" * 65, "1" * 64), ("hostname", "h\udce9", "h"),
     ("hostname", "a\x00b", "ab"), ("os_info", "\ud800", ""), ("user_email", f"{'x' * 250}@example.org", ""),
     ("user_id", "7" * 129, ""), ("user_name", f"Bob vigie_enroll_{'k' * 12}_{'s' * 43}_000000", "")],
)  # fmt: skip
def test_odd_description_is_cut_or_left_out(call, enroll_token, field, sent, stored):
    answer = call("POST", "agents/enroll", enroll_token, machine_id="PC-1", **{field: sent})
    assert (answer.status_code, answer.json()["agent"][field]) == (201, stored)
    beat = call("POST", "agents/heartbeat", answer.json()["api_token"], **{field: sent})
    assert beat.status_code == 200


@pytest.mark.parametrize("status", ["active", "uninstalled"])
def test_installer_does_not_learn_who_uses_a_machine(call, make_agent, status):
    agent = make_agent(
        status=status, user_name="Alice", user_email="alice@example.org", user_id="A-1", hostname="alice-pc"
    )
    token = issue_token("enroll", scopes=["uninstall"])[1]
    refused = call("POST", "agents/enroll", token, machine_id="PC-1", allow_reactivate=False)
    assert refused.status_code == 409
    brief = {"machine_id": "PC-1", "status": status, "enrolled_at": format_iso(agent.enrolled_at), "version": ""}
    assert refused.json()["agent"] == brief
    uninstalled = call("POST", "agents/uninstall", token, machine_id="PC-1").json()["agent"]
    assert uninstalled == brief | {"status": "uninstalled"}
