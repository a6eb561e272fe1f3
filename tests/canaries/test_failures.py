"""Failures: neither the message of an exception nor the variables of its frames are stored anywhere."""

import json

import pytest
from django.contrib.auth.models import User
from django.core import exceptions as django
from django.db import IntegrityError, OperationalError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.template import TemplateSyntaxError
from django.test import Client
from rest_framework import exceptions as drf

from portal.api.views import ApiView
from portal.base import problems
from tests.canaries import CANARY, HEADERS, bodies, everything_kept, everything_logged, found, routes
from usage.models import UserError

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.one_database("the exceptions are raised by the test", despite=("IntegrityError", "OperationalError")),
]
NOTED = RuntimeError(CANARY)
NOTED.add_note(CANARY)
UNFORESEEN = [
    RuntimeError(f"C:\\Users\\bob\\{CANARY}.pdf"),
    NOTED,
    KeyError(CANARY),
    FileNotFoundError(2, "No such file", f"/home/bob/{CANARY}.pdf"),
    UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    json.JSONDecodeError(CANARY, CANARY, 0),
    ExceptionGroup(CANARY, [ValueError(CANARY)]),
    IntegrityError(f"DETAIL: Key (name)=({CANARY}) already exists."),
    OperationalError(f'could not connect to "{CANARY}"'),
    TemplateSyntaxError(CANARY),
    UnreadablePostError(CANARY),
    django.ValidationError(CANARY),
]
FORESEEN = [
    Http404(CANARY),
    django.PermissionDenied(CANARY),
    django.BadRequest(CANARY),
    django.SuspiciousOperation(CANARY),
    django.SuspiciousFileOperation(CANARY),
    django.DisallowedRedirect(CANARY),
    django.RequestDataTooBig(CANARY),
    django.TooManyFieldsSent(CANARY),
    MultiPartParserError(CANARY),
    drf.ValidationError({"field": ["x"]}),
    drf.ParseError(CANARY),
    problems.Problem("machine_mismatch"),
]


def name(error):
    return type(error).__name__


def raising(error):
    """Return a view that raises the error while it handles another, with the canary in its variables."""

    def fail(*args, **kwargs):
        local = {CANARY: [CANARY]}
        try:
            raise LookupError(CANARY, local)
        except LookupError as cause:
            raise error.with_traceback(None) from cause

    return fail


def ask(client, path):
    """Request a call or page with the canary in the query and in each kind of body; return the statuses."""
    for body, content_type in bodies():
        yield client.generic("POST", f"{path}?{CANARY}={CANARY}", body, content_type).status_code
    yield client.get(path, {CANARY: CANARY}).status_code


@pytest.fixture
def client():
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("alice"))
    return client


@pytest.fixture
def nothing_is_found(written_when_asked, caplog, capfd):
    caplog.set_level(0)

    def looking():
        written_when_asked()
        assert UserError.objects.exists()
        assert caplog.records
        assert not found(everything_kept())
        assert not found(everything_logged(caplog, capfd))

    return looking


@pytest.mark.parametrize("error", UNFORESEEN + FORESEEN, ids=name)
def test_failure_in_each_kind_of_view_leaks_nothing(error, client, monkeypatch, nothing_is_found):
    for route in routes():
        monkeypatch.setattr(route.pattern, "callback", raising(error))
    statuses = [*ask(client, "/admin/agents/agent/"), *ask(client, "/api/v1/agents/fleet")]
    assert all(status >= 400 for status in statuses)
    nothing_is_found()


def test_failure_in_every_view_leaks_nothing(client, monkeypatch, nothing_is_found):
    known = routes()
    for route in known:
        monkeypatch.setattr(route.pattern, "callback", raising(RuntimeError(CANARY)))
    assert {client.get(f"{route.path}?{CANARY}", headers=HEADERS).status_code for route in known} == {500}
    nothing_is_found()


@pytest.mark.parametrize("error", UNFORESEEN + FORESEEN, ids=name)
def test_failure_while_rendering_a_refusal_leaks_nothing(error, client, monkeypatch, nothing_is_found):
    monkeypatch.setattr(ApiView, "refuse_unfit", raising(error))
    paths = [route.path for route in routes() if route.path.startswith("/api/v1/") and "badges" not in route.path]
    for path in paths:
        for answer in (client.get(path, {CANARY: CANARY}), client.generic("POST", f"{path}?{CANARY}", *next(bodies()))):
            assert answer.status_code >= 400
            assert CANARY not in answer.content.decode()
    nothing_is_found()
