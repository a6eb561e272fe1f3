"""Twenty simultaneous callers, over real sockets and database connections."""

import hashlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from agents.approval import ALLOWED_FOR
from agents.enrolment import issue_agent_token
from agents.models import Agent, EnrolmentRequest
from backups.models import ExpectedBackupJob
from portal.access.tokens.issuing import issue_token
from portal.models import ApiToken, AuditEvent
from usage.models import Run
from usage.tests.payloads import run_payload

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS = 20


@pytest.fixture
def at_once(live_server):
    """Return a function that makes one call from twenty threads at once and counts the statuses and codes."""

    def calling(path, token, body):
        start = threading.Barrier(CALLERS)

        def one(_):
            start.wait()
            answer = requests.post(
                f"{live_server.url}/api/v1/{path}", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60
            )
            return answer.status_code, answer.json().get("status" if answer.ok else "code")

        with ThreadPoolExecutor(CALLERS) as pool:
            return Counter(pool.map(one, range(CALLERS)))

    yield calling
    connections.close_all()


def test_twenty_simultaneous_enrolments_of_a_machine_create_one(at_once):
    token, plain = issue_token("enroll", label="installer")
    assert at_once("agents/enroll", plain, {"machine_id": "PC-1"}) == {
        (201, "enrolled"): 1,
        (409, "agent_already_active"): 19,
    }
    token.refresh_from_db()
    assert (Agent.objects.count(), ApiToken.objects.filter(kind="agent").count(), token.uses) == (1, 1, 1)


def test_twenty_simultaneous_reactivations_have_one_winner(at_once, make_agent):
    make_agent(status="uninstalled")
    plain = issue_token("enroll", label="installer")[1]
    assert at_once("agents/enroll", plain, {"machine_id": "PC-1"}) == {
        (201, "reactivated"): 1,
        (409, "agent_already_active"): 19,
    }


def test_twenty_enrolments_without_approval_leave_one_request_and_with_it_one_machine(at_once):
    ExpectedBackupJob.objects.create(agent_id="PC-1", database_name="crm")
    token, plain = issue_token("enroll", label="installer", max_uses=1)
    assert at_once("agents/enroll", plain, {"machine_id": "PC-1"}) == {(409, "approval_required"): 20}
    token.refresh_from_db()
    assert (Agent.objects.count(), EnrolmentRequest.objects.count(), token.uses) == (0, 1, 0)
    EnrolmentRequest.objects.update(allowed_until=timezone.now() + ALLOWED_FOR)
    answers = at_once("agents/enroll", plain, {"machine_id": "PC-1"})
    assert answers[201, "enrolled"] == 1
    assert (Agent.objects.count(), EnrolmentRequest.objects.count()) == (1, 0)


def test_twenty_replays_of_one_lost_answer_leave_one_token(at_once, call):
    plain = issue_token("enroll", label="installer")[1]
    body = {"machine_id": "PC-1", "enrollment_id": "5d9c"}
    call("POST", "agents/enroll", plain, **body)
    assert at_once("agents/enroll", plain, body) == {(201, "replayed"): 20}
    assert ApiToken.objects.filter(kind="agent", revoked_at=None).count() == 1


def test_single_use_token_enrols_one_of_twenty_machines(live_server):
    plain = issue_token("enroll", max_uses=1)[1]
    start = threading.Barrier(CALLERS)

    def one(number):
        start.wait()
        answer = requests.post(
            f"{live_server.url}/api/v1/agents/enroll",
            json={"machine_id": f"PC-{number}"},
            headers={"Authorization": f"Bearer {plain}"},
            timeout=60,
        )
        return answer.status_code

    with ThreadPoolExecutor(CALLERS) as pool:
        assert Counter(pool.map(one, range(CALLERS))) == {201: 1, 403: 19}
    assert Agent.objects.count() == 1


def test_twenty_sends_of_one_run_make_one_row(at_once):
    plain = issue_token("client", label="gui")[1]
    assert at_once("usage/report", plain, run_payload()) == {(201, "recorded"): 1, (200, "duplicate"): 19}
    assert Run.objects.count() == 1


def test_twenty_sends_of_one_batch_record_each_run_once(at_once):
    plain = issue_token("client", label="gui")[1]
    assert at_once("usage/report/batch", plain, {"runs": [run_payload() for _ in range(30)]}) == {(200, None): 20}
    assert Run.objects.count() == 30


def test_twenty_uninstallations_have_one_effect(at_once, agent):
    plain = issue_agent_token(agent)
    assert at_once("agents/uninstall", plain, {"machine_id": "PC-1"}) == {(200, "uninstalled"): 20}
    assert AuditEvent.objects.filter(action="agent.uninstalled").count() == 1


def test_twenty_invalid_tokens_are_counted_as_twenty(at_once):
    at_once("agents/heartbeat", "vigie_nonsense", {})
    assert AuditEvent.objects.get().count == CALLERS


@pytest.mark.parametrize("path", ["agents/token/rotate", "agents/enroll"])
def test_uninstallation_wins_over_simultaneous_calls_of_the_machine(live_server, make_agent, path):
    staff = issue_token("staff", user=User.objects.create_superuser("alice"))[1]

    def post(path, token, body, start):
        start.wait()
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(f"{live_server.url}/api/v1/{path}", json=body, headers=headers, timeout=60).status_code

    for number in range(10):
        agent, start = make_agent(f"PC-{number}"), threading.Barrier(2)
        body = {"machine_id": agent.machine_id}
        with ThreadPoolExecutor(2) as pool:
            gone = pool.submit(post, "agents/uninstall", staff, body, start)
            pool.submit(post, path, issue_agent_token(agent), body, start)
        assert gone.result() == 200
    assert set(Agent.objects.values_list("status", flat=True)) == {"uninstalled"}
    assert not ApiToken.objects.filter(kind="agent").usable(timezone.now()).exists()


def test_twenty_deposits_of_one_name_leave_one_whole_file(live_server, agent, settings, tmp_path):
    settings.DEPOSITS_ROOT, plain, start = tmp_path, issue_agent_token(agent), threading.Barrier(CALLERS)
    bodies = [bytes([number]) * 3_000_000 for number in range(CALLERS)]

    def one(body):
        start.wait()
        headers = {"Authorization": f"Bearer {plain}", "X-Content-SHA256": hashlib.sha256(body).hexdigest()}
        address = f"{live_server.url}/api/v1/backups/deposits/database/x.gz"
        return requests.put(address, data=body, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(CALLERS) as pool:
        assert list(pool.map(one, bodies)) == [201] * CALLERS
    connections.close_all()
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.read_bytes() in bodies
