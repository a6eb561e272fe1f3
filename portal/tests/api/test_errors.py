"""Every error response has the same shape and a documented code."""

import json

import pytest
from django.db import OperationalError
from rest_framework import serializers

from portal.api import docs
from portal.api.errors import as_problem, flatten_errors
from portal.base.problems import CODES, Problem

DOCUMENTED = """validation_failed malformed_json body_too_large body_too_deep unsupported_encoding not_authenticated
    invalid_token token_expired token_revoked token_exhausted insufficient_scope permission_denied not_found
    method_not_allowed throttled agent_already_active reactivation_forbidden agent_unknown machine_mismatch run_conflict
    counters_mismatch not_ready"""


def test_every_code_of_the_contract_is_defined():
    assert set(DOCUMENTED.split()) <= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_problem_has_status_title_and_detail(code, settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    body = Problem(code).body()
    assert body["type"] == f"https://vigie.example.org/docs/api#{code}"
    assert 400 <= body["status"] < 600
    assert body["title"]
    assert body["detail"].endswith(".")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["nothing/here", "agents/a/b", "agents/heartbeat/", "usage/report/x"])
def test_unknown_address_is_answered_by_a_problem(call, path, settings):
    answer = call("GET", path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/", "/api/v1/usage/export", "/api/v1/beta/report"])
@pytest.mark.parametrize("accept", ["*/*", "application/yaml", "text/html", "text/csv"])
def test_refusal_is_json_for_views_of_other_media_types(client, path, accept):
    answer = client.post(path, headers={"Accept": accept})
    assert answer.status_code in {401, 405}
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.content)["status"] == answer.status_code


@pytest.mark.django_db
def test_schema_is_served_in_each_language(client):
    assert client.get("/api/schema/?lang=fr").status_code == 200
    answer = client.get("/api/schema/?lang=zz")
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")


def test_schema_is_generated_once_for_all_callers(client, monkeypatch):
    monkeypatch.setattr(docs, "RENDERED", {})
    first = client.get("/api/schema/?version=foreign")
    monkeypatch.setattr(docs.SchemaView, "generator_class", None)
    second = client.get("/api/schema/")
    assert (second.content, second.headers["Content-Type"]) == (first.content, first.headers["Content-Type"])
    assert (second.status_code, b"foreign" in first.content) == (200, False)


@pytest.mark.django_db
def test_other_method_is_405_with_the_allowed_ones(call, agent_token):
    for path in ("agents/heartbeat", "usage/report", "agents/token/rotate"):
        answer = call("GET", path, agent_token)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "POST" in answer.headers["Allow"]


@pytest.mark.django_db
def test_failing_view_is_500_without_details(call, client_token, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("usage.api.runs.accept_run", fail)
    answer = call("POST", "usage/report", client_token)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.content.decode()
    assert "secret detail" in caplog.text


def test_unreachable_database_is_503_with_retry_after():
    problem = as_problem(OperationalError("password authentication failed for user x"))
    assert (problem.status, problem.code, problem.headers) == (503, "not_ready", {"Retry-After": "5"})


def test_nested_errors_are_flattened_without_values():
    class Inner(serializers.Serializer):
        kind = serializers.ChoiceField(["a"])
        id = serializers.UUIDField()

    class Outer(serializers.Serializer):
        inner = Inner()

    fields = Outer(data={"inner": {"kind": "C:\\secret", "id": "C:\\secret"}})
    assert not fields.is_valid()
    with pytest.raises(serializers.ValidationError) as caught:
        fields.is_valid(raise_exception=True)
    errors = flatten_errors(caught.value.get_full_details())
    assert [(error.field, error.code) for error in errors] == [
        ("inner.kind", "invalid_choice"),
        ("inner.id", "invalid"),
    ]
    assert "secret" not in json.dumps([error.message for error in errors])


@pytest.mark.django_db
def test_unknown_host_is_refused_by_a_problem(call):
    answer = call("GET", "agents/fleet", headers={"Host": "evil.example.org"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("agents/enroll", {"machine_id": "x" * 129}, "The text is not as documented."),
        ("agents/heartbeat", {"version": [6]}, "The value is not as documented."),
    ],
)
def test_error_detail_is_english_in_every_requested_language(call, enroll_token, agent_token, path, fields, message):
    token = enroll_token if path == "agents/enroll" else agent_token
    (error,) = call("POST", path, token, headers={"Accept-Language": "fr"}, **fields).json()["errors"]
    assert error["message"] == message
