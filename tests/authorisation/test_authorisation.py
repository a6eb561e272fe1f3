"""Every route is called by every kind of caller, and responds as one table specifies."""

from __future__ import annotations

import logging
from itertools import product

import pytest
from django.contrib import admin
from django.urls import URLPattern, get_resolver, resolve
from django.views.generic import RedirectView

from tests.authorisation.asking import Portal
from tests.authorisation.table import Table
from tests.authorisation.world import make_world

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("permissions are checked in Python"), pytest.mark.slow]
WRITES = ("post", "put", "patch", "delete")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")


@pytest.fixture
def world(settings, tmp_path):
    settings.DEPOSITS_ROOT = tmp_path
    settings.AUTH_FAILURES_PER_MINUTE = 10**6
    logging.disable(logging.ERROR)  # a line for each of thousands of refusals
    yield make_world()
    logging.disable(logging.NOTSET)


def all_routes(resolver=None, prefix=""):
    """Return each route as `resolve` names it, with its view."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLPattern):
            yield route, pattern.callback
        else:
            yield from all_routes(pattern, route)


def writes_of(view):
    """Return the writing methods that a view implements itself."""
    kind = getattr(view, "view_class", None) or getattr(view, "cls", RedirectView)
    allowed = getattr(view, "view_initkwargs", {}).get("http_method_names", WRITES)
    return (
        set() if kind is RedirectView else {name.upper() for name in WRITES if name in allowed and hasattr(kind, name)}
    )


def test_every_route_has_a_row_and_every_row_a_route(world):
    rows = Table(world).rows
    known, routes = {(resolve(row.path).route, row.method) for row in rows}, dict(all_routes())
    assert {route for route, _ in known} == set(routes)
    assert {(route, method) for route, view in routes.items() for method in writes_of(view)} <= known


def test_every_model_of_the_admin_is_in_one_group_of_the_table(world):
    table, models = Table(world), [f"{each._meta.app_label}/{each._meta.model_name}" for each in admin.site._registry]
    assert sorted(table.groups["OWN"] + table.groups["ACCOUNTS"]) == sorted(models)


def test_every_caller_gets_the_response_in_the_table(world):
    portal, wrong = Portal(), []
    for row in Table(world).rows:
        for name, expected in row.expected().items():
            answer = portal.ask(world.callers[name], row.method, row.path)
            if answer != expected:
                wrong.append(f"{row.method} {row.path} by {name}: {answer} instead of {expected}")
    assert not wrong, "\n".join(wrong)


def test_forged_post_is_refused_on_every_page_with_a_session(world):
    portal, caller = Portal(), world.callers["session:superuser"]
    posts = [row for row in Table(world).rows if row.method == "POST"]
    answers = {(row.path, portal.ask(caller, "POST", row.path, is_forged=True)) for row in posts}
    taken = {path for path, answer in answers if answer != "403"}
    # The form of participants and the calls of machines look at no session.
    assert {path for path in taken if not path.startswith("/feedback/")} == {
        row.path for row in posts if row.section == "api" and row.cells["session"] == "401"
    }


def test_method_without_a_row_is_refused(world):
    portal, rows = Portal(), [row for row in Table(world).rows if row.section == "api"]
    known = {(row.path, row.method) for row in rows}
    unknown = [call for call in product({row.path for row in rows}, METHODS) if call not in known]
    for name in ("nobody", "token:superuser", "session:superuser", "agent"):
        for path, method in unknown:
            answer = portal.ask(world.callers[name], method, path)
            assert answer in ("401", "403", "405") or method in ("HEAD", "OPTIONS"), (name, path, method)
            assert answer < "500", (name, path, method)
