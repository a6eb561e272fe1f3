"""The API conforms to its schema: schemathesis tests each call as each kind of caller, with all its checks."""

from __future__ import annotations

import logging
import os

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.pytest.lazy import get_all_tests

from portal.base.problems import CODES
from tests.api.completed import complete
from tests.authorisation.world import make_world

CASES = 100 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 5
SETTINGS = settings(
    max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
CALLERS = {"token:superuser", "client", "agent", "enroll"}


@pytest.fixture
def schema():
    """Return the schema. As a fixture it is read by the one worker that tests it, not by all at their start."""
    # Callers bring their tokens: a case is not to be wrong for a token that it made up.
    config = SchemathesisConfig.from_dict({"seed": 1, "generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True), config=config)
    schema.app = get_wsgi_application()
    return schema


@pytest.fixture
def one_connection(db):
    """Keep the connection, which the test is in a transaction of, as Django's test client does."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def world(one_connection, settings, tmp_path):
    settings.DEPOSITS_ROOT = tmp_path
    settings.AUTH_FAILURES_PER_MINUTE = 10**6
    logging.disable(logging.ERROR)
    yield make_world()
    logging.disable(logging.NOTSET)


def conforms(case, world, refused):
    complete(case)
    for caller in sorted(CALLERS - refused):
        with transaction.atomic():
            try:
                answer = case.call_and_validate(headers={"Authorization": f"Bearer {world.callers[caller].token}"})
            finally:
                transaction.set_rollback(True)
        if answer.status_code == 403 and answer.json()["code"] == "insufficient_scope":
            refused.add(caller)  # whatever the case


def test_call_conforms_to_the_schema_for_every_caller(schema, world, subtests):
    """Build the cases here, not as parameters: each worker would build them to collect them."""
    load_all_checks()
    tests = [*get_all_tests(schema=schema, test_func=conforms, settings=SETTINGS, given_kwargs={})]
    assert len(tests) > 15
    for each in tests:
        operation, check = each.ok()
        with subtests.test(operation.label):
            check(world=world, refused=set())


# Of methods that no call documents, and of an item of a batch.
ELSEWHERE = {"method_not_allowed", "event_conflict"}


def test_every_code_is_documented_by_a_call():
    raw = SchemaGenerator().get_schema(request=None, public=True)
    answers = [each["responses"] for path in raw["paths"].values() for each in path.values()]
    assert not any("default" in each for each in answers)
    described = " ".join(answer["description"] for each in answers for answer in each.values())
    assert {code for code in CODES if f"`{code}`" not in described} <= ELSEWHERE
