"""Findings about computers that share one identity, as copies of a disk do."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.findings import copied_machines
from agents.models import Agent
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db


def beat(call, token, *hostnames):
    for hostname in hostnames:
        assert call("POST", "agents/heartbeat", token, hostname=hostname).status_code == 200


def test_two_host_names_in_turn_are_a_finding(call, make_agent):
    token = issue_agent_token(make_agent(hostname="first"))
    beat(call, token, "first", "second", "first")
    assert not list(copied_machines(timezone.now()))  # renamed and named back: one computer may do that
    beat(call, token, "second", "first")
    (finding,) = copied_machines(timezone.now())
    assert "PC-1" in finding.text
    assert "first, second" in finding.text
    assert not list(copied_machines(timezone.now() + timedelta(hours=4)))


def test_renamed_computer_is_no_finding(call, make_agent):
    token = issue_agent_token(make_agent(hostname="first"))
    beat(call, token, *["second"] * 5)
    assert Agent.objects.get().hostname == "second"
    assert AuditEvent.objects.get(action="agent.renamed").count == 1
    assert not list(copied_machines(timezone.now()))


def test_erased_host_name_stays_empty(call, agent, agent_token):
    beat(call, agent_token, "first", "second")
    assert Agent.objects.get().hostname == ""
    assert not AuditEvent.objects.filter(action="agent.renamed").exists()


def test_same_host_name_costs_no_write(call, make_agent, django_assert_num_queries):
    token = issue_agent_token(make_agent(hostname="first"))
    beat(call, token, "first")
    with django_assert_num_queries(1):
        beat(call, token, "first")


@pytest.mark.parametrize(("hostname", "found"), [("first", 0), ("second", 1), (None, 0)])
def test_replay_under_another_host_name_is_a_finding(call, enroll_token, hostname, found):
    fields = {"machine_id": "PC-1", "enrollment_id": "5d9c"}
    call("POST", "agents/enroll", enroll_token, hostname="first", **fields)
    answer = call("POST", "agents/enroll", enroll_token, hostname=hostname, **fields)
    assert answer.json()["status"] == "replayed"
    assert len(list(copied_machines(timezone.now()))) == found
