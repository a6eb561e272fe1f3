"""Runs are assigned to machines by name, ignoring case, or by the machine's token."""

import pytest

from agents.enrolment import issue_agent_token
from usage.models import Run
from usage.tests.payloads import run_payload

pytestmark = pytest.mark.django_db
ABSENT = object()


def named(name):
    body = run_payload(machine_id=name)
    if name is ABSENT:
        del body["machine_id"]
    return body


@pytest.mark.parametrize("name", ["PC-Lyon", "pc-lyon", "PC-LYON", " PC-lyon ", None, ABSENT])
def test_machines_token_reports_for_its_machine(call, make_agent, name):
    token, body = issue_agent_token(make_agent("PC-Lyon")), named(name)
    assert call("POST", "usage/report", token, body=body).status_code == 201
    batch = call(
        "POST",
        "usage/report/batch",
        token,
        body={"runs": [named(name), body | {"machine_id": "pc-LYON"}]},
    )
    assert [result["status"] for result in batch.json()["results"]] == ["recorded", "duplicate"]
    assert set(Run.objects.values_list("machine_id", flat=True)) == {"PC-Lyon"}


def test_machine_that_lost_its_name_reports_under_its_own_spelling(call, make_agent):
    make_agent("PC-1")
    token = issue_agent_token(make_agent("pc-1", owns_name=False))
    for name in ("PC-1", "pc-1", None):
        assert call("POST", "usage/report", token, body=named(name)).status_code == 201
    assert set(Run.objects.values_list("machine_id", flat=True)) == {"pc-1"}


@pytest.mark.parametrize(("name", "stored"), [("pc-lyon", "PC-Lyon"), ("pc-nice", "pc-nice"), (None, "")])
def test_applications_report_is_stored_in_the_machines_spelling(call, make_agent, client_token, name, stored):
    make_agent("PC-Lyon")
    body = named(name)
    assert [call("POST", "usage/report", client_token, body=body).status_code for _ in range(2)] == [201, 200]
    assert Run.objects.get().machine_id == stored
