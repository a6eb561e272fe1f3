"""Tokens bound to applications, and machines bound to a licence."""

import pytest
from django.utils import timezone

from agents.enrolment import issue_agent_token
from portal.access.tokens.issuing import issue_token
from portal.models import AuditEvent
from usage import findings
from usage.models import Run
from usage.tests.payloads import run_payload

pytestmark = pytest.mark.django_db
RECORDED, OTHER_APP, OTHER_LICENCE = (201, None), (403, "app_mismatch"), (403, "licence_mismatch")


@pytest.fixture
def tokens(make_agent):
    bound, free = make_agent("PC-1", license_ref="LIC-1"), make_agent("PC-2")
    return {
        "any app": issue_token("client", label="any")[1],
        "two apps": issue_token("client", label="two", app_names=["gui_v6", "batch"])[1],
        "bound machine": issue_agent_token(bound),
        "free machine": issue_agent_token(free),
    }


CASES = [
    ("any app", {"app_name": "anything"}, RECORDED),
    ("two apps", {"app_name": "batch"}, RECORDED),
    ("two apps", {"app_name": " gui_v6 "}, RECORDED),
    ("two apps", {"app_name": "GUI_V6"}, OTHER_APP),
    ("two apps", {"app_name": "gui"}, OTHER_APP),
    ("bound machine", {"license_ref": "LIC-1"}, RECORDED),
    ("bound machine", {"license_ref": None}, RECORDED),
    ("bound machine", {"license_ref": "LIC-2", "app_name": "anything"}, OTHER_LICENCE),
    ("free machine", {"license_ref": "LIC-2", "machine_id": None}, RECORDED),
]


@pytest.mark.parametrize(("token", "changes", "expected"), CASES)
def test_report_is_checked_against_what_the_token_is_bound_to(call, tokens, token, changes, expected):
    answer = call("POST", "usage/report", tokens[token], body=run_payload(**changes))
    assert (answer.status_code, answer.json().get("code")) == expected
    assert Run.objects.exists() is (expected == RECORDED)
    assert AuditEvent.objects.filter(action=f"refused.{expected[1]}").exists() is (expected != RECORDED)


@pytest.mark.parametrize(("token", "changes", "expected"), CASES)
def test_each_run_of_a_batch_is_checked(call, tokens, token, changes, expected):
    machine = {"machine_id": "PC-2"} if token == "free machine" else {}
    fine = run_payload(app_name="batch", license_ref="LIC-1", **machine)
    answer = call("POST", "usage/report/batch", tokens[token], body={"runs": [run_payload(**changes), fine]})
    assert [result["code"] for result in answer.json()["results"]] == [expected[1], None]
    assert AuditEvent.objects.filter(action=f"refused.{expected[1]}").exists() is (expected != RECORDED)


def test_finding_names_the_refused_caller(call, tokens):
    refused = [run_payload(license_ref="LIC-2"), run_payload(license_ref="LIC-3"), run_payload(license_ref="LIC-1")]
    call("POST", "usage/report/batch", tokens["bound machine"], body={"runs": refused})
    call("POST", "usage/report", tokens["two apps"], body=run_payload(app_name="gui"))
    found = list(findings.refused_runs(timezone.now()))
    assert [finding.text.partition(".")[0] for finding in found] == [
        "two (token) reported runs of an application that its token does not allow",
        "PC-1 (machine) reported runs of a licence that its machine does not allow",
    ]
    assert AuditEvent.objects.get(action="refused.licence_mismatch").count == 1
    assert not list(findings.refused_runs(timezone.now() + findings.REFUSED_SHOWN))


@pytest.mark.parametrize("token", ["two apps", "bound machine"])
def test_bindings_need_no_query(call, tokens, token, django_assert_num_queries):
    body = run_payload(license_ref="LIC-1")
    call("POST", "usage/report", tokens[token], body=body | {"run_id": "0f8fad5bd9cb469fa16570867728950e"})
    with django_assert_num_queries(2):
        assert call("POST", "usage/report", tokens[token], body=body).status_code == 201
