"""The People page: finding, exporting and erasing one person's data."""

import json

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django_q.models import OrmQ

from portal.access import roles
from portal.models import AuditEvent
from portal.privacy import overview
from portal.privacy.subjects import parse_subject
from portal.tests.helpers.workers import deliver
from usage.models import FeatureUsage, Run
from usage.tests.factories import at, create_feature_usage
from usage.tests.factories import create_run as kept_run

pytestmark = pytest.mark.django_db
CAROL = "carol@example.org"
FIND, EXPORT, ERASE = (reverse(f"admin:{name}") for name in ("people", "people_export", "people_erase"))


@pytest.fixture
def operator(client):
    roles.synchronise_roles()
    user = User.objects.create_user("olga", "olga@example.org", is_staff=True)
    user.groups.add(Group.objects.get(name=roles.OPERATOR))
    client.force_login(user)
    return client


@pytest.fixture
def carols_use():
    return [
        create_feature_usage(CAROL, at("14:00")),
        create_feature_usage(CAROL, at("15:00", "2026-03-12")),
        create_feature_usage("dave@example.org", at("14:00")),
    ]


def text_of(response):
    return response.content.decode()


def test_found_person_is_shown_with_counts_and_times(operator, carols_use):
    answer = operator.post(FIND, {"given": "Carol@Example.org"})
    section = answer.context["section"]
    assert [(row[1], row[2], f"{row[3]:%d}", f"{row[4]:%d}") for row in section.rows] == [
        ("Feature uses", 2, "10", "12")
    ]
    assert "no-store" in answer["Cache-Control"]


def test_export_is_the_commands_document_and_is_audited(operator, carols_use):
    answer = operator.post(EXPORT, {"given": CAROL})
    document = json.loads(answer.getvalue())
    assert document["subject"] == CAROL
    assert len(document["tables"]["usage.FeatureUsage"]) == 2
    assert "no-store" in answer["Cache-Control"]
    event = AuditEvent.objects.get(action="privacy.exported")
    assert (event.actor, event.subject) == ("user:olga", CAROL)


def test_erasure_confirmed_by_the_name_removes_it_everywhere(operator, carols_use):
    operator.post(EXPORT, {"given": CAROL})
    asked = operator.post(ERASE, {"given": CAROL})
    assert {row[1]: row[2] for row in asked.context["section"].rows}["Feature uses"] == 2
    assert operator.post(ERASE, {"given": CAROL, "again": "carol"}).status_code == 200
    assert deliver("slow") == 0
    assert operator.post(ERASE, {"given": CAROL, "again": CAROL}).status_code == 302
    assert deliver("slow") == 1
    assert not FeatureUsage.objects.filter(user_email=CAROL).exists()
    assert FeatureUsage.objects.count() == 3
    event = AuditEvent.objects.get(action="privacy.erased")
    assert (event.actor, event.subject[:7]) == ("user:olga", "erased-")
    assert not [row for row in AuditEvent.objects.values_list() if "carol" in repr(row)]


def test_queued_erasure_does_not_name_the_person(operator, carols_use):
    operator.post(ERASE, {"given": CAROL, "again": CAROL})
    assert OrmQ.objects.count() == 1
    assert "carol" not in repr(OrmQ.objects.get().task)


@pytest.mark.parametrize("given", ["olga@example.org", "user:olga"])
def test_own_account_is_not_erased(operator, given):
    answer = operator.post(ERASE, {"given": given, "again": given}, follow=True)
    assert "your own account" in text_of(answer)
    assert deliver("slow") == 0


def test_other_account_is_erased_only_by_a_superuser(operator, client):
    User.objects.create_superuser("sue", "sue@example.org")
    User.objects.create_superuser("sam", "sam@example.org")
    form = {"given": "sue@example.org", "again": "sue@example.org"}
    assert "Only a superuser" in text_of(operator.post(ERASE, form, follow=True))
    client.force_login(User.objects.get(username="sam"))
    client.post(ERASE, form)
    assert deliver("slow") == 1
    assert not User.objects.filter(username="sue").exists()


@pytest.mark.parametrize("given", ["", "carol dave", "a" * 400])
def test_partial_name_finds_nobody(operator, given):
    answer = operator.post(FIND, {"given": given})
    assert answer.status_code == 200
    assert answer.context["form"].errors or given == ""
    assert "section" not in answer.context
    assert operator.post(EXPORT, {"given": given}).status_code == 302


SPELLINGS = ["josé@example.org", "JOSÉ@example.org", "jose\u0301@example.org"]


@pytest.mark.parametrize("kept", SPELLINGS)
def test_non_ascii_name_is_found_in_either_case_and_normalization_form(operator, kept):
    create_feature_usage(kept, at("14:00"))
    User.objects.create_user("jose", kept)
    for given in SPELLINGS:
        rows = operator.post(FIND, {"given": given}).context["section"].rows
        assert [(row[1], row[2]) for row in rows] == [("Users", 1), ("Feature uses", 1)]
        answer = operator.post(ERASE, {"given": given, "again": given}, follow=True)
        assert "Only a superuser" in text_of(answer)


def test_overview_of_a_machine_reads_no_documents_of_its_runs(django_assert_max_num_queries):
    kept_run()
    with django_assert_max_num_queries(150) as queries:
        held = {each.model: each.count for each in overview.overview(parse_subject("PC-1"))}
    assert held[Run] == 1
    assert not [query for query in queries.captured_queries if '"documents"' in query["sql"]]


def test_menu_shows_the_page_to_those_who_may_open_it(operator, client):
    assert FIND in text_of(operator.get(reverse("admin:index")))
    viewer = User.objects.create_user("vic", is_staff=True)
    viewer.groups.add(Group.objects.get(name=roles.VIEWER))
    client.force_login(viewer)
    assert FIND not in text_of(client.get(reverse("admin:index")))


def test_search_in_a_long_table_uses_its_index(operator, carols_use, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(overview, "MAX_SCANNED", -1)
    monkeypatch.setattr(overview, "MAX_COUNTED", 1)
    with django_assert_max_num_queries(150) as queries:
        held = {each.model: each for each in overview.overview(parse_subject(CAROL))}
    assert (held[FeatureUsage].count, held[FeatureUsage].is_whole) == (1, False)
    assert not [query for query in queries.captured_queries if "ESCAPE" in query["sql"] and "LIKE '%" in query["sql"]]
    assert "at least 1" in text_of(operator.post(FIND, {"given": CAROL}))
