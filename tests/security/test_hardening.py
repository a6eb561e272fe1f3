"""Security headers on every response, and escaping on every page."""

import pytest
from django.utils import timezone

from agents.models import Agent
from beta.models import BetaFeedback
from monitoring.models import Target
from tests.authorisation.asking import Portal
from tests.authorisation.table import Table
from tests.authorisation.world import MACHINE, Caller, make_world
from usage.models import FeatureUsage

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.one_database("headers and escaping")]
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def world():
    return make_world()


def pages(world, section):
    return [row.path for row in Table(world).rows if (row.section, row.method) == (section, "GET")]


def assert_headers(headers, path):
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy, path
    assert "unsafe" not in policy, path
    assert headers["X-Frame-Options"] == "DENY", path
    assert headers["X-Content-Type-Options"] == "nosniff", path
    assert "Access-Control-Allow-Origin" not in headers, path


def test_every_page_forbids_frames_foreign_scripts_and_type_sniffing(world):
    portal = Portal()
    for path in pages(world, "pages"):
        assert_headers(portal.answer(world.callers["nobody"], "GET", path).headers, path)


def test_every_call_forbids_type_sniffing_and_foreign_origins(world):
    portal = Portal()
    for path in pages(world, "api"):
        headers = portal.answer(world.callers["token:superuser"], "GET", path).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert "Access-Control-Allow-Origin" not in headers, path


def test_static_file_forbids_type_sniffing_and_foreign_origins(settings, tmp_path):
    (tmp_path / "some.css").write_text("p {}")
    settings.STATIC_ROOT = tmp_path
    answer = Portal().answer(Caller("nobody"), "GET", "/static/some.css")
    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_markup_from_machines_and_people_is_escaped_on_every_page(world):
    short = MARKUP[:50]
    Agent.objects.filter(machine_id=MACHINE).update(
        user_name=MARKUP, hostname=MARKUP, os_info=MARKUP, version=short, uninstall_reason=MARKUP, user_id=MARKUP
    )
    BetaFeedback.objects.update(participant=MARKUP, comment=MARKUP, page=MARKUP, app_version=short)
    FeatureUsage.objects.update(feature_name=MARKUP, endpoint=MARKUP, user_email=MARKUP, timestamp=timezone.now())
    Target.objects.update(name=MARKUP, url=MARKUP, last_detail=MARKUP)
    portal, read = Portal(), 0
    for path in pages(world, "pages"):
        answer = portal.answer(world.callers["session:superuser"], "GET", path)
        assert_headers(answer.headers, path)
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            read += 1
            text = answer.content.decode()
            assert "<script>alert" not in text, path
            assert "<img src=x" not in text, path
    assert read > 100
