"""Simultaneous enrolments of a machine that needs an operator's approval."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from agents import approval
from agents.models import Agent, EnrolmentRequest
from portal.access.tokens.issuing import issue_token

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS = 6


@pytest.fixture
def enrol_at_once(settings):
    """Enrol one machine from several threads. Return the codes, or the statuses of successes."""
    settings.ENROLMENT_APPROVAL = "always"
    plain = issue_token("enroll", label="installers")[1]
    start = Barrier(CALLERS)

    def enrol(_):
        try:
            start.wait()
            sent = {"headers": {"Authorization": f"Bearer {plain}"}, "content_type": "application/json"}
            answer = Client().post("/api/v1/agents/enroll", {"machine_id": "PC-1"}, **sent).json()
            return answer.get("code", answer["status"])
        finally:
            connections.close_all()

    def enrolling():
        with ThreadPoolExecutor(CALLERS) as pool:
            return sorted(pool.map(enrol, range(CALLERS)))

    return enrolling


@pytest.mark.parametrize("known", [False, True])
def test_simultaneous_requests_are_one_and_its_approval_enrols_once(enrol_at_once, make_agent, known):
    if known:
        make_agent(status="uninstalled")
    assert enrol_at_once() == ["approval_required"] * CALLERS
    assert EnrolmentRequest.objects.count() == 1
    EnrolmentRequest.objects.update(allowed_until=timezone.now() + approval.ALLOWED_FOR)
    assert enrol_at_once() == ["agent_already_active"] * (CALLERS - 1) + ["reactivated" if known else "enrolled"]
    assert Agent.objects.count() == 1
    assert not EnrolmentRequest.objects.exists()
