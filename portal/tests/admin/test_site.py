"""The landing page: findings, tiles and links."""

import re
import shlex
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import get_commands
from django.urls import reverse
from django.utils import timezone
from vigie_client.cli.options import parse_arguments

from portal import __version__, audit
from portal.access.roles import VIEWER
from portal.base.findings import Finding, Severity
from portal.desk import checklist, findings, panels
from portal.desk.checklist import Step
from portal.desk.panels import Chart, Tile, chart_start, daily_chart
from portal.tests.helpers.admin_pages import log_in_with_role

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("the landing page")]
INDEX = "/admin/"


@pytest.fixture
def found(monkeypatch):
    """Replace the findings of the landing page by this list."""
    list_of_findings = []
    monkeypatch.setattr(findings.finding_sources, "all", lambda: [lambda now: list_of_findings])
    return list_of_findings


@pytest.fixture
def shown_tiles(monkeypatch):
    list_of_tiles = []
    monkeypatch.setattr(panels.tiles, "all", lambda: [lambda now, tile=tile: tile for tile in list_of_tiles])
    return list_of_tiles


@pytest.fixture
def staff(client):
    user = User.objects.create_user("sam", is_staff=True)
    client.force_login(user)
    return user


def page(client):
    return client.get(INDEX).content.decode()


def calm_text(client):
    """Return what the landing page says where it lists no finding."""
    section = re.search(r'<section class="findings".*?</section>', page(client), re.DOTALL)
    return " ".join(re.sub(r"<h2.*?</h2>|<ul>.*</ul>|<[^>]+>", "", section[0], flags=re.DOTALL).split())


def test_landing_page_without_findings_says_so(admin_client, found, monkeypatch):
    monkeypatch.setattr(checklist.steps, "all", lambda: [lambda request: Step("thing", "", "", INDEX, True)])
    assert calm_text(admin_client) == "All clear. Issues will appear here."


def test_finding_shows_text_start_and_link(admin_client, found):
    since = timezone.now() - timedelta(hours=3)
    found.append(Finding(Severity.CRITICAL, "The roof leaks.", since, reverse("admin:auth_user_changelist"), "Mend it"))
    assert calm_text(admin_client) == ""
    text = page(admin_client)
    for part in ("The roof leaks.", ">3\xa0h ago<", f'href="{reverse("admin:auth_user_changelist")}"', "Mend it"):
        assert part in text


def test_button_of_a_finding_is_named_by_the_finding_too(admin_client, found):
    found.append(Finding(Severity.INFO, "The roof leaks.", url=reverse("admin:auth_user_changelist")))
    text = page(admin_client)
    assert 'id="f1">The roof leaks.' in text
    assert 'aria-labelledby="a1 f1"' in text


def test_findings_are_sorted_by_severity_and_age(admin_client, found):
    now = timezone.now()
    found += [
        Finding(Severity.WARNING, "Third."),
        Finding(Severity.CRITICAL, "Second.", now),
        Finding(Severity.CRITICAL, "First.", now - timedelta(days=1)),
    ]
    text = page(admin_client)
    assert text.index("First.") < text.index("Second.") < text.index("Third.")


def test_tile_shows_figure_facts_and_accessible_chart(admin_client, shown_tiles):
    chart = daily_chart({timezone.localdate(): 7}, timezone.now(), "things a day")
    shown_tiles.append(Tile("Things", "1,204", "things", facts=[("blue", "3")], chart=chart))
    text = page(admin_client)
    for part in (
        "1,204",
        "blue",
        '<canvas data-chart="chart-1" aria-hidden="true">',
        '<table id="chart-1"',
        "<td>7",
    ):
        assert part in text


def test_failing_source_becomes_a_finding_and_hides_no_other(admin_client, monkeypatch):
    def broken(now):
        yield Finding(Severity.INFO, "half of it")
        raise RuntimeError("secret detail")

    monkeypatch.setattr(
        findings.finding_sources, "all", lambda: [broken, lambda now: [Finding(Severity.INFO, "the other one")]]
    )
    monkeypatch.setattr(panels.tiles, "all", lambda: [broken_tile, lambda now: Tile("Well", "42")])
    shown = page(admin_client)
    assert "Can’t check portal.tests.admin.test_site.broken" in shown
    assert "the other one" in shown
    assert "secret detail" not in shown
    assert shown.index("not available; see the log") < shown.rindex("42")


def broken_tile(now):
    raise RuntimeError("secret detail")


def test_markup_in_a_finding_or_chart_is_escaped(admin_client, found, shown_tiles):
    found.append(Finding(Severity.INFO, "<b>bold</b>"))
    shown_tiles.append(Tile("T", "1", chart=Chart([timezone.localdate()], [1], "</script><i>")))
    text = page(admin_client)
    assert "<b>bold" not in text
    assert "</script><i>" not in text


def test_tiles_without_permission_are_hidden(client, staff, found, shown_tiles):
    shown_tiles.append(Tile("Fleet", "41", url=reverse("admin:agents_agent_changelist")))
    found.append(Finding(Severity.INFO, "Machines cough.", url=reverse("admin:agents_agent_changelist")))
    found.append(
        Finding(Severity.INFO, "One waits.", url=reverse("admin:agents_agent_act", args=[1, "x"]), permission="x")
    )
    found.append(Finding(Severity.INFO, "A password.", url=reverse("admin:auth_user_password_change", args=[1])))
    found.append(Finding(Severity.INFO, "For everybody.", url="https://example.org/help"))
    text = page(client)
    assert "Fleet" not in text
    assert "cough" not in text
    assert "One waits." not in text
    assert "A password." not in text
    assert "For everybody." in text
    staff.user_permissions.add(Permission.objects.get(codename="view_agent"))
    client.force_login(staff)  # a change of rights ended the session
    text = page(client)
    assert "Machines cough." in text
    assert "One waits." in text
    assert "A password." not in text


def test_schedules_and_queues_are_not_in_the_admin(admin_client):
    assert not [model for model in admin.site._registry if model._meta.app_label == "django_q"]
    assert "django_q" not in page(admin_client)


def test_chart_shows_thirty_days_ending_today():
    now = timezone.now()
    chart = daily_chart({}, now, "")
    assert (len(chart.days), chart.days[-1], chart.days[0]) == (30, timezone.localdate(now), chart_start(now).date())


def test_chart_can_start_later():
    now = timezone.now()
    since = timezone.localdate(now) - timedelta(days=2)
    assert len(daily_chart({}, now, "", since=since).days) == 3


def test_landing_page_takes_few_queries(admin_client, django_assert_max_num_queries):
    page(admin_client)
    with django_assert_max_num_queries(63):
        page(admin_client)


def test_findings_are_kept_for_some_seconds_until_the_next_action(admin_client, found, monkeypatch):
    monkeypatch.setattr(findings, "FRESH_SECONDS", 60)
    cache.clear()
    assert "The roof leaks." not in page(admin_client)
    found.append(Finding(Severity.INFO, "The roof leaks."))
    assert "The roof leaks." not in page(admin_client)
    audit.record_event("user.changed", "user:sam", actor="test")
    assert "The roof leaks." in page(admin_client)
    cache.clear()


@pytest.mark.parametrize(("role", "is_linked"), [("operator", True), ("viewer", False)])
def test_help_page_links_the_first_steps_that_the_user_may_take(client, role, is_linked):
    log_in_with_role(client, role)
    text = client.get(reverse("admin:help")).content.decode()
    urls = [reverse("admin:portal_notificationchannel_add"), reverse("admin:portal_apitoken_add")]
    assert [f'<li><a href="{url}">' in text for url in urls] == [is_linked] * 2


def test_commands_on_the_help_page_exist(admin_client):
    text = admin_client.get(reverse("admin:help")).content.decode()
    lines = [shlex.split(line) for line in re.findall("<dt><code>(.*?)</code>", text)]
    assert {words[2] for words in lines if words[0] == "python"} <= set(get_commands()) | {"changepassword"}
    calls = [parse_arguments(words[1:]) for words in lines if words[0] == "vigie-client"]
    assert {(call.command, call.server) for call in calls} == {
        (command, settings.PORTAL_URL) for command in ("enroll", "heartbeat", "deposit")
    }


def test_language_can_be_switched(admin_client):
    assert '<html lang="en"' in page(admin_client)
    admin_client.post(reverse("set_language"), {"language": "fr", "next": INDEX})
    text = page(admin_client)
    assert '<html lang="fr"' in text
    assert 'value="en" lang="en">English</button>' in text


@pytest.mark.parametrize(("role", "has_button"), [("viewer", False), ("staff", False), ("operator", True)])
def test_button_of_a_finding_is_shown_only_to_those_who_may_use_its_page(client, found, role, has_button):
    log_in_with_role(client, role)
    url = reverse("admin:portal_notificationchannel_add")
    found.append(Finding(Severity.WARNING, "No one gets alerts.", url=url, action="Add a channel"))
    shown = page(client).partition('id="content-main"')[2]
    assert "No one gets alerts." in shown
    assert (url in shown) is has_button
    assert client.get(url).status_code == (200 if has_button else 403)


def test_footer_tells_the_version_to_those_who_are_signed_in(client):
    version = f"Vigie {__version__}"
    assert version not in client.get("/accounts/login/").content.decode()
    log_in_with_role(client, VIEWER)
    assert version in client.get(INDEX).content.decode()
