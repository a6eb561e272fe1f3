"""A browser, and users signed in to a portal with one row of every model."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models

from portal.access.roles import synchronise_roles
from portal.tests.helpers.browsing import running_chromium
from portal.tests.helpers.waiting import PATIENCE
from tests.authorisation.world import make_world

# Asks for a file that does not exist and runs a script that the policy refuses, if it is ever more than text.
MARKUP = "<img src=x onerror=gone()>"


@pytest.fixture(scope="module")
def browser():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def world(transactional_db):
    """Return a portal with one row of every model, in whose texts people have written markup."""
    world = make_world()
    for model in admin.site._registry:
        fields = [field.name for field in model._meta.concrete_fields if is_written_by_people(field)]
        for name in fields:
            model._base_manager.filter(**{f"{name}__in": ("x", "API", "beta")}).update(**{name: MARKUP})
    return world


def is_written_by_people(field):
    is_text = type(field) in (models.CharField, models.TextField)
    return is_text and not (field.choices or field.unique) and (field.max_length or 1000) >= len(MARKUP)


@pytest.fixture
def newcomer(transactional_db):
    """Return the superuser of an empty portal."""
    synchronise_roles()
    return User.objects.create_superuser("alice", "alice@example.org")


@pytest.fixture
def open_page(browser, live_server):
    """Return a function that opens a page in a new profile, signed in by a session key; it notes what goes wrong."""
    contexts = []

    def opening(session="", **options):
        context = browser.new_context(base_url=live_server.url, **({"locale": "en-GB"} | options))
        context.set_default_timeout(PATIENCE * 1_000)
        if session:
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        page.on("console", lambda message: note(page, message.type, message.text))
        page.on("pageerror", lambda error: page.faults.append(f"script error: {error}"))
        page.on("request", lambda request: note_request(page, request.url, live_server.url))
        return page

    yield opening
    for context in contexts:
        context.close()


def note(page, kind, text):
    if kind in ("error", "warning"):
        page.faults.append(f"console {kind}: {text}")


def note_request(page, url, own):
    if not url.startswith((own, "data:", "blob:")):
        page.faults.append(f"request to {url}")
