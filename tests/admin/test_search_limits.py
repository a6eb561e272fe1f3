"""What a search leaves out, it says on the page: rows that are too old or too many, and texts that are too short."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.utils import timezone

from beta.tests.factories import create_feedback, get_programme
from portal import audit
from portal.access.tokens.issuing import issue_token
from portal.desk import matching, search, trigrams
from portal.models import JobRun
from usage.tests.factories import create_run

pytestmark = pytest.mark.django_db
EVERYWHERE, MACHINES = "/admin/search/", "/admin/agents/agent/"


@pytest.fixture
def bounded(monkeypatch):
    """Read two rows of each table, as on a database without trigram indexes."""
    monkeypatch.setattr(matching, "SEARCHED_ROWS", 2)
    monkeypatch.setattr(matching, "LOG_ROWS", 2)
    monkeypatch.setattr(trigrams, "has_trigram_indexes", lambda: False)


def notes(client, path, text, **others):
    context = client.get(path, {"q": text, **others}).context
    return list(context["cl"].search_notes if "cl" in context else context["notes"])


@pytest.mark.parametrize("path", [EVERYWHERE, MACHINES])
@pytest.mark.parametrize("text", ["lyon", "nowhere"])
def test_page_says_that_only_the_newest_rows_were_searched(admin_client, bounded, make_agent, path, text):
    for number in range(2):
        make_agent(f"PC-LYON-{number}")
    assert notes(admin_client, path, text) == []
    make_agent("PC-LYON-2")
    said = "Searched the newest 2 rows (machines)."
    assert notes(admin_client, path, text) == [said]
    assert said in admin_client.get(path, {"q": text}).content.decode()


def test_page_says_so_in_french(admin_client, bounded, make_agent):
    for number in range(3):
        make_agent(f"PC-LYON-{number}")
    answer = admin_client.get(MACHINES, {"q": "lyon"}, headers={"Accept-Language": "fr"})
    assert "Recherche limitée aux 2 lignes les plus récentes (machines)." in answer.content.decode()


def test_log_says_how_older_rows_are_found(admin_client, bounded):
    now = timezone.now()
    for number in range(3):
        audit.record_event("licence.changed", f"licence:X-{number}")
        JobRun.objects.create(job="prune", cycle_key=str(number), started_at=now)
    newest, older = "Searched the newest 2 rows ({}).", "Older rows are found by the beginning of a name."
    assert notes(admin_client, "/admin/portal/auditevent/", "ice") == [newest.format("audit log"), older]
    assert notes(admin_client, "/admin/portal/jobrun/", "prune") == [newest.format("job runs")]


@pytest.mark.parametrize("text", ["---", "%%%", "_", "- %"])
@pytest.mark.parametrize("path", [EVERYWHERE, MACHINES, "/admin/usage/run/", "/admin/portal/auditevent/"])
def test_text_without_letters_and_digits_finds_nothing_and_says_why(admin_client, make_agent, path, text):
    make_agent("--- %%% _", user_name="---")
    for text_that_begins_so in ("--- %%% _", "%%%", "_", "- %"):
        audit.record_event("licence.changed", text_that_begins_so)
        create_run(machine_id=text_that_begins_so)
    response = admin_client.get(path, {"q": text})
    assert notes(admin_client, path, text) == ["Type at least three letters or digits."]
    assert not (response.context["groups"] if "groups" in response.context else response.context["cl"].result_list)


@pytest.mark.parametrize(
    ("text", "found", "is_short"),
    [
        ("a-b", {"A-B-1"}, True), ("-b-", set(), True), ("b-1", set(), True), ("a-b-1", {"A-B-1", "X-A-B-1"}, False),
        ("a-b 1", {"A-B-1"}, True), ("x-a-b -1", {"X-A-B-1"}, False),
    ],
)  # fmt: skip
def test_word_with_fewer_than_three_letters_or_digits_matches_beginnings(
    admin_client, make_agent, text, found, is_short
):
    make_agent("A-B-1", hostname="1")
    make_agent("X-A-B-1", hostname="1")
    response = admin_client.get(MACHINES, {"q": text})
    assert {agent.machine_id for agent in response.context["cl"].result_list} == found
    short = "Fewer than three letters or digits match only the beginning of a name."
    assert notes(admin_client, MACHINES, text) == ([short] if is_short else [])


def test_search_by_a_number_needs_no_three_digits(admin_client):
    assert notes(admin_client, "/admin/monitoring/round/", "7") == []


def test_group_leads_to_the_list_if_values_may_stand_in_rows_that_were_not_read(admin_client, monkeypatch):
    monkeypatch.setattr(search.ValueSource, "rows_of_arm", 3)
    programme = get_programme()
    create_feedback(programme, participant="first@example.org")
    for _ in range(3):
        create_feedback(programme, participant="latest@example.org")
    (group,) = admin_client.get(EVERYWHERE, {"q": "example.org"}).context["groups"]
    assert ([hit.name for hit in group.hits], group.more) == (["latest@example.org"], "All matches")
    assert group.url == "/admin/beta/betafeedback/?q=example.org"


def test_list_of_a_log_does_not_claim_to_have_counted_all_that_it_found(admin_client, bounded, monkeypatch):
    monkeypatch.setattr("portal.admin.changelist.CAP", 2)
    for number in range(6):
        audit.record_event("licence.changed", f"licence:X-{number}")
    response = admin_client.get("/admin/portal/auditevent/", {"q": "licence"})
    assert response.context["cl"].paginator.shown_count == "2+"


def test_rows_without_a_value_come_last_in_both_directions(admin_client):
    now = timezone.now()
    never, used = (issue_token("client", label=label)[0] for label in ("never", "used"))
    type(used).objects.filter(pk=used.pk).update(last_used_at=now)
    columns = admin.site._registry[type(used)].list_display
    column = 1 + [getattr(each, "__name__", each) for each in columns].index("last_used_at")
    for order in (column, -column):
        shown = admin_client.get("/admin/portal/apitoken/", {"o": order}).context["cl"].result_list
        assert [token.pk for token in shown] == [used.pk, never.pk]
