"""Caching: browsers and proxies store no response except badges and static files."""

import re

import pytest
from django.urls import URLPattern, get_resolver, reverse

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("headers of every page")]


def paths(resolver=None, prefix="/"):
    """Return a path of each route, filled with values that match no row."""
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + re.sub(r"<(?:\w+:)?\w+>", "1", getattr(pattern.pattern, "_route", "nowhere"))
        if isinstance(pattern, URLPattern):
            yield path
        else:
            yield from paths(pattern, path)


ALL = sorted(set(paths()))


def test_no_answer_to_a_stranger_is_stored(client):
    assert len(ALL) > 250
    assert not [path for path in ALL if "no-store" not in client.get(path)["Cache-Control"]]


def test_no_answer_to_a_user_is_stored(admin_client, agent):
    pages = [path for path in ALL if not path.startswith("/admin/")]
    pages += ["/admin/", *(reverse(f"admin:agents_agent_{name}") for name in ("changelist", "export", "export_xlsx"))]
    pages += [reverse("admin:agents_agent_change", args=[agent.pk]), "/api/v1/agents/PC-1", "/api/v1/agents/nowhere"]
    assert not [path for path in pages if "no-store" not in admin_client.get(path)["Cache-Control"]]


def test_no_answer_to_a_machine_is_stored(call, agent_token):
    for answer in (call("POST", "agents/heartbeat", agent_token), call("POST", "usage/report", agent_token)):
        assert answer["Cache-Control"] == "no-store"
