"""The search over everything: what each fragment finds, in which order, and for whom."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from backups.models import ExpectedBackupJob
from beta.tests.factories import create_bug, get_programme
from monitoring.tests.factories import create_target
from portal import audit
from portal.access.tokens.issuing import issue_token
from portal.desk import matching, search
from portal.desk.trigrams import trigram_indexes
from portal.models import TaskAttempt
from portal.tests.helpers.admin_pages import log_in_with_role
from usage.tests.factories import create_licence

pytestmark = pytest.mark.django_db
SEARCH = "/admin/search/"
# Two for session and user. For each of the nine sources the keys that match and, except for machines, licences, tokens
# and feedback where trigram indexes exist, the newest key before; and the rows of those with results.
MOST_QUERIES = 2 + 9 * 3


@pytest.fixture
def world(make_agent):
    make_agent("PC-LYON-07", user_name="Marc Legoff")
    make_agent("SRV-PARIS-DB", hostname="db.lyon.example.org")
    create_licence("LIC-2041", customer="Exemple SARL")
    create_licence("LIC-2042", customer="Exemple SARL")
    ExpectedBackupJob.objects.create(agent_id="SRV-PARIS-DB", database_name="billing", company_name="Exemple SARL")
    create_target("Customer area")
    get_programme("Spring area")
    create_bug("legoff@example.org", "It stops")
    User.objects.create_user("mlegoff", first_name="Marc", last_name="Legoff")
    issue_token("enroll", label="Lyon installers")


def found(client, text, **headers):
    groups = client.get(SEARCH, {"q": text}, headers=headers).context["groups"]
    return {group.title: [hit.name for hit in group.hits] for group in groups}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("LYON", {"machines": ["PC-LYON-07", "SRV-PARIS-DB"], "tokens": ["Lyon installers"]}),
        ("example.org", {"machines": ["SRV-PARIS-DB"], "targets": ["Customer area"], "participants": ["legoff@example.org"]}),
        ("yon-0", {"machines": ["PC-LYON-07"]}),
        ("2041", {"licences": ["LIC-2041"]}),
        ("emple", {"licences": ["LIC-2041", "LIC-2042"], "customers": ["Exemple SARL"], "databases": ["billing"]}),
        ("legoff", {"participants": ["legoff@example.org"], "machines": ["PC-LYON-07"], "users": ["mlegoff"]}),
        ("area", {"targets": ["Customer area"], "beta programmes": ["Spring area"]}),
        ("sarl exemple", {"licences": ["LIC-2041", "LIC-2042"], "customers": ["Exemple SARL"], "databases": ["billing"]}),
        ("bi", {"databases": ["billing"]}), ("il", {}), ("nowhere", {}), ("", {}), ("%", {}), ("x" * 257, {}), ("PC\0", {}),
    ],
)  # fmt: skip
def test_fragment_finds_everything_that_has_it_in_a_name(admin_client, world, text, groups):
    assert found(admin_client, text) == groups


def test_best_match_is_first_whatever_the_number_of_others(admin_client, make_agent):
    for number in range(30):
        make_agent(f"A-PC-1{number}")
    for name in ("PC-17", "PC-1", "PC-18"):
        make_agent(name)
    make_agent("LATER-PC-1")
    create_target("PC-1x")
    answer = admin_client.get(SEARCH, {"q": "pc-1"})
    machines, targets = answer.context["groups"]
    assert [hit.name for hit in machines.hits][:3] == ["PC-1", "PC-17", "PC-18"]
    assert len(machines.hits) == search.SHOWN
    assert (machines.more, targets.more) == ("All 34", "")
    assert machines.url == reverse("admin:agents_agent_changelist", query={"q": "pc-1"})


def test_group_with_the_best_match_is_first(admin_client, make_agent):
    make_agent("WITH-SHOP-7")
    create_target("Shop")
    assert list(found(admin_client, "shop")) == ["targets", "machines"]


def test_very_many_matches_are_not_counted(admin_client, make_agent, monkeypatch):
    monkeypatch.setattr(search, "MOST_COUNTED", 8)
    for number in range(9):
        make_agent(f"PC-{number}")
    (machines,) = admin_client.get(SEARCH, {"q": "pc-"}).context["groups"]
    assert machines.more == "All 8+"


def test_user_finds_only_what_the_lists_show_them(client, world):
    user = User.objects.create_user("victor", is_staff=True)
    client.force_login(user)
    assert found(client, "lyon") == found(client, "emple") == {}
    assert client.get(SEARCH).context["searched"] == []
    user.user_permissions.add(Permission.objects.get(codename="view_licence"))
    client.force_login(user)
    assert found(client, "lyon") == {}
    assert set(found(client, "emple")) == {"licences", "customers"}


@pytest.mark.parametrize("role", ["viewer", "staff", "operator"])
def test_no_role_finds_users(client, world, role):
    log_in_with_role(client, role)
    assert "machines" in found(client, "legoff")
    assert "users" not in found(client, "legoff")


def test_every_result_and_every_list_opens(admin_client, world):
    for text in ("lyon", "emple", "legoff", "area"):
        groups = admin_client.get(SEARCH, {"q": text}).context["groups"]
        urls = [url for group in groups for url in (group.url, *(hit.url for hit in group.hits))]
        assert {admin_client.get(url).status_code for url in urls} == {200}


def test_list_of_a_group_shows_at_least_its_results(admin_client, world):
    for text in ("lyon", "emple", "legoff", "area", "sarl exemple"):
        for group in admin_client.get(SEARCH, {"q": text}).context["groups"]:
            listed = admin_client.get(group.url).context["cl"].result_count
            assert listed >= len(group.hits), (text, group.title)


def test_markup_in_names_stays_text(admin_client, make_agent):
    make_agent("PC-9", user_name="<b>bold</b>")
    page = admin_client.get(SEARCH, {"q": "<b>bold"}).content.decode()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>" not in page


def test_htmx_gets_the_results_without_the_page(admin_client, world):
    whole = admin_client.get(SEARCH, {"q": "lyon"})
    part = admin_client.get(SEARCH, {"q": "lyon"}, headers={"HX-Request": "true"})
    assert "<html" in whole.content.decode()
    assert "<html" not in part.content.decode()
    assert found(admin_client, "lyon", **{"HX-Request": "true"}) == found(admin_client, "lyon")
    assert "HX-Request" in whole["Vary"]


def test_queries_do_not_grow_with_the_rows(admin_client, world, make_agent):
    def queries(text):
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(SEARCH, {"q": text})
        return len(captured)

    few = queries("lyon")
    for number in range(20):
        make_agent(f"PC-LYON-1{number}")
    assert queries("lyon") == few
    assert queries("nowhere") < few <= MOST_QUERIES


def test_every_fragment_of_a_large_table_is_searched_by_an_index():
    indexed = set(trigram_indexes().values())
    large = [source for source in search.sources.all() if admin.site._registry[source.model].is_large]
    assert len(large) >= 4
    for source in large:
        assert {(source.opts.db_table, name) for name in source.fields} <= indexed


def test_log_finds_by_its_index_what_is_older_than_the_searched_rows(admin_client, monkeypatch):
    monkeypatch.setattr(matching, "LOG_ROWS", 2)
    audit.record_event("licence.changed", "licence:LIC-OLD")
    now = timezone.now()
    TaskAttempt.objects.create(task_id="f00d", name="beat", cluster="quick", started_at=now)
    for number in range(4):
        audit.record_event("licence.changed", f"licence:X-{number}")
        TaskAttempt.objects.create(task_id=str(number), name="beat", cluster="quick", started_at=now)
    for path, text in (("auditevent", "lic-old"), ("taskattempt", "F00D")):
        rows = admin_client.get(f"/admin/portal/{path}/", {"q": text}).context["cl"].result_list
        assert len(rows) == 1, path
