"""Queries that are compiled to SQL once."""

import pytest
from django.db import connection, connections

from agents.authentication import MachineBearerAuthentication
from agents.enrolment import issue_agent_token
from portal.models import ApiToken

tokens_by_key = MachineBearerAuthentication.tokens_by_key


@pytest.mark.django_db
def test_compiled_query_returns_the_rows_of_its_queryset(agent, staff_token, django_assert_num_queries):
    issue_agent_token(agent, expires_at=agent.enrolled_at)
    for token in ApiToken.objects.select_related("user", "machine__agent"):
        with django_assert_num_queries(1):
            found = tokens_by_key.one(token.key, "10.0.0.1")
            assert {field.attname: getattr(found, field.attname) for field in ApiToken._meta.concrete_fields} == {
                field.attname: getattr(token, field.attname) for field in ApiToken._meta.concrete_fields
            }
            assert found.had_failures is False
            assert found.user == token.user
    assert tokens_by_key.one(ApiToken.objects.get(kind="agent").key, "").machine.agent == agent


@pytest.mark.django_db
def test_compiled_query_without_a_match_returns_nothing():
    assert tokens_by_key.one("nothing", "10.0.0.1") is None


@pytest.mark.django_db
def test_values_are_passed_as_parameters_not_as_sql(agent):
    issue_agent_token(agent)
    assert tokens_by_key.one("' OR 1=1 --", "%s") is None


@pytest.mark.django_db(transaction=True)
def test_connection_lost_between_two_calls_is_reopened(agent):
    token = issue_agent_token(agent)
    break_connection()
    assert tokens_by_key.one(token.split("_")[2], "10.0.0.1").machine.agent == agent


def break_connection():
    """Break the connection as a database restart would; SQLite has no server that could go away."""
    if connection.vendor != "postgresql":
        connection.close()
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    other.close()
