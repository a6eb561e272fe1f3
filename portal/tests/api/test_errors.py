"""Every refusal has one shape and a documented code."""

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


def test_every_code_of_the_contract_is_there():
    assert set(DOCUMENTED.split()) <= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_problem_has_its_status_title_and_sentence(code, settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    body = Problem(code).body()
    assert body["type"] == f"https://vigie.example.org/docs/api#{code}"
    assert 400 <= body["status"] < 600
    assert body["title"]
    assert body["detail"].endswith(".")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["nothing/here", "agents/a/b", "agents/heartbeat/", "usage/report/x"])
def test_an_unknown_address_is_a_problem_too(call, path, settings):
    answer = call("GET", path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/", "/api/v1/usage/export", "/api/v1/beta/report"])
@pytest.mark.parametrize("accept", ["*/*", "application/yaml", "text/html", "text/csv"])
def test_a_refusal_is_json_also_of_views_that_write_something_else(client, path, accept):
    answer = client.post(path, headers={"Accept": accept})
    assert answer.status_code in {401, 405}
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.content)["status"] == answer.status_code


@pytest.mark.django_db
def test_the_schema_is_there_in_the_languages_that_there_are(client):
    assert client.get("/api/schema/?lang=fr").status_code == 200
    answer = client.get("/api/schema/?lang=zz")
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")


def test_schema_is_made_once_for_all_who_ask(client, monkeypatch):
    monkeypatch.setattr(docs, "RENDERED", {})
    first = client.get("/api/schema/?version=foreign")
    monkeypatch.setattr(docs.SchemaView, "generator_class", None)
    second = client.get("/api/schema/")
    assert (second.content, second.headers["Content-Type"]) == (first.content, first.headers["Content-Type"])
    assert (second.status_code, b"foreign" in first.content) == (200, False)


@pytest.mark.django_db
def test_another_method_is_named_with_those_allowed(call, agent_token):
    for path in ("agents/heartbeat", "usage/report", "agents/token/rotate"):
        answer = call("GET", path, agent_token)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "POST" in answer.headers["Allow"]


@pytest.mark.django_db
def test_a_view_that_fails_tells_and_shows_nothing(call, client_token, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("usage.api.runs.accept_run", fail)
    answer = call("POST", "usage/report", client_token)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.content.decode()
    assert "secret detail" in caplog.text


def test_a_database_that_is_away_is_a_matter_of_time():
    problem = as_problem(OperationalError("password authentication failed for user x"))
    assert (problem.status, problem.code, problem.headers) == (503, "not_ready", {"Retry-After": "5"})


def test_nested_details_become_one_flat_list_without_any_value():
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
def test_another_host_name_is_refused_in_the_same_shape(call):
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
def test_error_sentence_is_english_whatever_language_is_asked_for(
    call, enroll_token, agent_token, path, fields, message
):
    token = enroll_token if path == "agents/enroll" else agent_token
    (error,) = call("POST", path, token, headers={"Accept-Language": "fr"}, **fields).json()["errors"]
    assert error["message"] == message
