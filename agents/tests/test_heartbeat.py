"""Heartbeats of machines."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.models import Agent
from portal.models import ApiToken, AuditEvent

pytestmark = pytest.mark.django_db


def test_response_has_time_and_next_interval(call, agent_token, settings):
    body = call("POST", "agents/heartbeat", agent_token).json()
    assert body["status"] == "ok"
    assert body["server_time"].endswith("Z")
    assert (
        settings.HEARTBEAT_INTERVAL_SECONDS * 0.9
        <= body["next_heartbeat_seconds"]
        <= settings.HEARTBEAT_INTERVAL_SECONDS * 1.1
    )


def test_changes_are_stored_and_audited(call, agent, agent_token):
    call("POST", "agents/heartbeat", agent_token, version="1.4.3", os_info=None)
    agent.refresh_from_db()
    assert (agent.version, agent.os_info) == ("1.4.3", "")
    event = AuditEvent.objects.get(action="agent.changed")
    assert (event.subject, event.before, event.after) == ("agent:PC-1", {"version": ""}, {"version": "1.4.3"})


def test_alternating_values_are_audited_once_an_hour(call, agent, agent_token):
    for _ in range(3):
        for version in ("1.0", "2.0"):
            call("POST", "agents/heartbeat", agent_token, version=version)
    events = AuditEvent.objects.filter(action="agent.changed").order_by("id")
    assert [(event.before["version"], event.after["version"], event.count) for event in events] == [
        ("", "1.0", 1),
        ("1.0", "2.0", 3),
        ("2.0", "1.0", 2),
    ]


def test_surrounding_spaces_are_no_change(call, make_agent):
    token = issue_agent_token(make_agent(version="1.4.3"))
    assert call("POST", "agents/heartbeat", token, version=" 1.4.3 ").status_code == 200
    assert not AuditEvent.objects.filter(action="agent.changed").exists()


@pytest.mark.parametrize("fields", [{"version": 3}, {"os_info": ["Linux"]}])
def test_invalid_body_is_refused(call, agent, agent_token, fields):
    answer = call("POST", "agents/heartbeat", agent_token, **fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")


def test_any_call_with_machine_token_updates_last_seen(call, agent, agent_token):
    for call_it in (
        lambda: call("POST", "agents/heartbeat", agent_token),
        lambda: call("GET", "agents/PC-1", agent_token),
    ):
        Agent.objects.update(last_seen_at=timezone.now() - timedelta(days=2))
        call_it()
        agent.refresh_from_db()
        assert agent.liveness(timezone.now()) == "online"


def test_unchanged_heartbeat_needs_one_query(call, agent, agent_token, django_assert_num_queries):
    call("POST", "agents/heartbeat", agent_token, version="1")
    with django_assert_num_queries(1):
        assert call("POST", "agents/heartbeat", agent_token, version="1").status_code == 200


def test_last_seen_is_written_at_most_once_a_minute(call, agent, agent_token):
    call("POST", "agents/heartbeat", agent_token)
    before = (Agent.objects.get().last_seen_at, ApiToken.objects.get().last_used_at)
    call("POST", "agents/heartbeat", agent_token)
    assert (Agent.objects.get().last_seen_at, ApiToken.objects.get().last_used_at) == before


@pytest.mark.parametrize(
    ("seen", "liveness"),
    [(timedelta(), "online"), (timedelta(seconds=600), "online"), (timedelta(seconds=601), "late"),
     (timedelta(days=30), "late"), (timedelta(days=30, seconds=1), "lost")],
)  # fmt: skip
def test_liveness_of_row_and_totals_agree(agent, seen, liveness):
    now = agent.last_seen_at + seen
    assert agent.liveness(now) == liveness
    totals = Agent.objects.totals(now)
    assert {name: totals[name] for name in ("online", "late", "lost")} == {"online": 0, "late": 0, "lost": 0} | {
        liveness: 1
    }
