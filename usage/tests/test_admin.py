"""Runs in the admin."""

import uuid
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from usage import panels
from usage.admin import runs as usage_admin
from usage.panels import runs_of_machine, usage_tile
from usage.tests.runs import kept

pytestmark = pytest.mark.django_db
LIST = "/admin/usage/run/"
RUN_ID = uuid.UUID("0f8fad5bd9cb469fa16570867728950e")


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


@pytest.fixture
def make_run(db):
    def make(run_id=None, *, ago=timedelta(), failed=0, other=0, succeeded=1, **fields):
        statuses = ["failed"] * failed + ["other"] * other + ["success"] * succeeded
        documents = [
            {"ordinal": number, "status": status, "page_count": 2, "duration_ms": 9, "extension": "pdf"}
            for number, status in enumerate(statuses)
        ]
        now = timezone.now()
        return kept(
            run_id=run_id or uuid.uuid4(), document_count=len(documents), succeeded_count=succeeded, failed_count=failed,
            total_pages=2 * len(documents), documents=documents, received_at=now - ago, **fields,
        )  # fmt: skip

    return make


def listed(client, **query):
    return {run.pk for run in client.get(LIST, query).context["cl"].queryset}


class TestTheList:
    @pytest.mark.parametrize(
        "typed", ["0f8f", "0F8FAD5B", "0f8fad5b-d9cb", RUN_ID.hex, str(RUN_ID), "PC-7", "pc-", "LIC-7"]
    )
    def test_it_finds_a_run_by_the_beginning_of_what_names_it(self, admin_client, make_run, typed):
        run = make_run(RUN_ID, machine_id="PC-7", license_ref="LIC-7")
        make_run(uuid.UUID(int=1), machine_id="SRV-1", license_ref="LIC-8")
        assert listed(admin_client, q=typed) == {run.pk}

    @pytest.mark.parametrize("typed", ["8fad", "0f8e", "0f8", "-", "0f8fad5b%", "0" * 33])
    def test_it_finds_nothing_else(self, admin_client, make_run, typed):
        make_run(RUN_ID)
        assert listed(admin_client, q=typed) == set()

    def test_it_can_be_narrowed_down(self, admin_client, make_run):
        new, failed, odd = make_run(), make_run(failed=1, ago=timedelta(hours=2)), make_run(other=1, over_quota=True)
        old = make_run(ago=timedelta(days=10))
        assert listed(admin_client, received="hour") == {new.pk, odd.pk}
        assert listed(admin_client, received="week") == {new.pk, odd.pk, failed.pk}
        assert listed(admin_client, outcome="failures") == {failed.pk}
        assert listed(admin_client, outcome="succeeded") == {new.pk, old.pk}
        assert listed(admin_client, quota="over") == {odd.pk}

    def test_it_says_how_each_run_went(self, admin_client, make_run):
        for fields in ({}, {"failed": 2}, {"other": 1}, {"over_quota": True}):
            make_run(**fields)
        text = admin_client.get(LIST).content.decode()
        for words in ("all succeeded", "2 failed", "partly unknown", "over quota"):
            assert f">{words}</span>" in text

    def test_it_leaves_the_documents_in_the_table(self, admin_client, make_run, django_assert_num_queries):
        make_run()
        with django_assert_num_queries(4) as queries:
            admin_client.get(LIST)
        assert not any('"usage_run"."documents"' in query["sql"] for query in queries)


class TestThePageOfARun:
    def page(self, client, run):
        return client.get(reverse("admin:usage_run_change", args=[run.pk])).content.decode()

    def test_it_shows_its_documents_and_says_how_many_more_there_are(self, admin_client, make_run, monkeypatch):
        monkeypatch.setattr(usage_admin, "SHOWN_DOCUMENTS", 2)
        text = self.page(admin_client, make_run(failed=1, succeeded=4))
        assert text.count("<td>pdf</td>") == 2
        assert "and 3 more documents" in text

    def test_a_document_with_nothing_but_null_is_shown_too(self, admin_client, make_run):
        run = make_run()
        run.documents = [dict.fromkeys(run.documents[0])]
        run.save()
        assert "<td>unknown</td>" in self.page(admin_client, run)

    @pytest.mark.parametrize(
        ("dropped", "words"), [(0, "held nothing but what is documented"), (1, "1 key that"), (3, "3 keys that")]
    )
    def test_it_explains_the_keys_that_were_dropped(self, admin_client, make_run, dropped, words):
        assert words in self.page(admin_client, make_run(dropped_keys=dropped))

    def test_it_leads_to_the_machine(self, admin_client, make_run):
        assert "/admin/agents/agent/?q=PC-1" in self.page(admin_client, make_run())


class TestTheTile:
    def test_it_sums_up_thirty_days(self, make_run):
        make_run(failed=1)
        make_run(ago=timedelta(days=3))
        make_run(ago=timedelta(days=31))
        tile = usage_tile(timezone.now())
        assert (tile.figure, tile.caption) == ("2", "runs in 30 days")
        assert dict(tile.facts) == {"documents": "3", "pages": "6", "failed": "1"}
        assert (tile.chart.values[-1], tile.chart.values[-4], len(tile.chart.values)) == (1, 1, 30)

    def test_it_reads_no_more_than_it_can_and_says_since_when(self, make_run, monkeypatch):
        monkeypatch.setattr(panels, "MOST_READ", 3)
        for days in (0, 1, 1, 2, 2):
            make_run(ago=timedelta(days=days))
        tile = usage_tile(timezone.now())
        yesterday = timezone.localdate() - timedelta(days=1)
        assert (tile.figure, tile.caption) == ("3", f"runs since {date_format(yesterday)}")
        assert tile.chart.values == [2, 1]

    def test_a_day_with_too_many_is_shown_whole(self, make_run, monkeypatch):
        monkeypatch.setattr(panels, "MOST_READ", 1)
        for _ in range(3):
            make_run()
        assert usage_tile(timezone.now()).chart.values == [3]

    def test_it_reads_once_a_minute(self, make_run, django_assert_num_queries):
        make_run()
        usage_tile(timezone.now())
        with django_assert_num_queries(0):
            usage_tile(timezone.now())


def test_the_last_runs_stand_on_the_page_of_their_machine(make_run):
    for _ in range(12):
        make_run()
    make_run(machine_id="PC-2")
    section = runs_of_machine("PC-1")
    assert len(section.rows) == 10
    assert section.url == f"{LIST}?q=PC-1"


def test_a_run_stands_on_the_day_it_happened_and_not_on_the_day_it_arrived(make_run):
    now = timezone.now()
    make_run(started_at=now - timedelta(days=3))
    make_run(started_at=now + timedelta(days=3))
    make_run(started_at=now - timedelta(days=90))
    days = panels.recent_runs(now).by_day
    assert days == {timezone.localdate(now) - timedelta(days=3): 1, timezone.localdate(now): 1}
