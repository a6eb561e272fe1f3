"""Runs in the admin."""

import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from portal.desk import matching
from usage.tests.changelists import list_rows
from usage.tests.factories import create_licence, create_run

pytestmark = pytest.mark.django_db
LIST = "/admin/usage/run/"
RUN_ID = uuid.UUID("0f8fad5bd9cb469fa16570867728950e")


@pytest.fixture
def make_run(db):
    def make(run_id=None, *, ago=timedelta(), failed=0, other=0, succeeded=1, **fields):
        statuses = ["failed"] * failed + ["other"] * other + ["success"] * succeeded
        documents = [
            {"ordinal": number, "status": status, "page_count": 2, "duration_ms": 9, "extension": "pdf"}
            for number, status in enumerate(statuses)
        ]
        now = timezone.now()
        return create_run(
            run_id=run_id or uuid.uuid4(), document_count=len(documents), succeeded_count=succeeded, failed_count=failed,
            total_pages=2 * len(documents), documents=documents, received_at=now - ago, **fields,
        )  # fmt: skip

    return make


def listed(**query):
    return {run.pk for run in list_rows("run", **query)}


class TestRunList:
    @pytest.mark.parametrize(
        "typed", ["0f8f", "0F8FAD5B", "0f8fad5b-d9cb", RUN_ID.hex, str(RUN_ID), "PC-7", "pc-", "LIC-7", "C-70"]
    )
    def test_search_finds_run_by_part_of_a_name_or_beginning_of_its_id(self, make_run, typed):
        run = make_run(RUN_ID, machine_id="PC-70", license_ref="LIC-7")
        make_run(uuid.UUID(int=1), machine_id="SRV-1", license_ref="LIC-8")
        assert listed(q=typed) == {run.pk}

    @pytest.mark.parametrize("typed", ["8fad", "0f8e", "0f8", "-", "0f8fad5b%", "0" * 33])
    def test_search_for_anything_else_finds_nothing(self, make_run, typed):
        make_run(RUN_ID)
        assert listed(q=typed) == set()

    def test_filters_narrow_the_list(self, make_run):
        new, failed, odd = make_run(), make_run(failed=1, ago=timedelta(hours=2)), make_run(other=1, over_quota=True)
        old = make_run(ago=timedelta(days=10))
        assert listed(received="hour") == {new.pk, odd.pk}
        assert listed(received="week") == {new.pk, odd.pk, failed.pk}
        assert listed(outcome="failures") == {failed.pk}
        assert listed(outcome="succeeded") == {new.pk, old.pk}
        assert listed(quota="over") == {odd.pk}

    def test_runs_of_wrong_clocks_are_filtered_and_flagged(self, admin_client, make_run):
        make_run()
        corrected, dropped = make_run(clock="corrected"), make_run(clock="dropped")
        make_run(clock="corrected", ago=timedelta(days=2))
        assert listed(clock="corrected") == {corrected.pk}
        assert listed(clock="dropped") == {dropped.pk}
        assert "time corrected" in admin_client.get(f"{LIST}{corrected.pk}/change/").content.decode()

    def test_omitted_documents_are_counted_below_the_listed_ones(self, admin_client, make_run):
        run = make_run(documents_omitted=2_000)
        assert "and 2,000 more documents" in admin_client.get(f"{LIST}{run.pk}/change/").content.decode()

    def test_outcome_column_describes_each_run(self, admin_client, make_run):
        for fields in ({}, {"failed": 2}, {"other": 1}, {"over_quota": True}):
            make_run(**fields)
        text = admin_client.get(LIST).content.decode()
        for words in ("all succeeded", "2 failed", "partly unknown", "over quota"):
            assert f">{words}</span>" in text

    def test_licence_column_shows_the_customer(self, admin_client, make_run):
        licence = create_licence("LIC-7", customer="Maison Blanche")
        make_run(license_ref="LIC-7")
        make_run(license_ref="LIC-8")
        text = admin_client.get(LIST).content.decode()
        link = reverse("admin:usage_licence_change", args=[licence.pk])
        assert f'<a href="{link}">LIC-7</a><span class="beneath">Maison Blanche</span>' in text
        assert '<td class="field-licence">LIC-8</td>' in text

    @pytest.mark.parametrize("typed", ["Maison", "maison b", "MAISON BLANCHE"])
    def test_search_finds_runs_by_customer(self, make_run, typed):
        names = {
            "LIC-7": "Maison Blanche",
            "LIC-8": "maison blanche",
            "LIC-9": "La MAISON BLANCHE",
            "LIC-10": "Maisons",
        }
        for ref, customer in names.items():
            create_licence(ref, customer=customer)
        runs = {ref: make_run(license_ref=ref).pk for ref in (*names, "LIC-11")}
        assert listed(q=typed) == {runs[ref] for ref in names if typed == "Maison" or ref != "LIC-10"}

    def test_search_finds_runs_of_machines_by_part_of_their_names(self, make_run, make_agent, monkeypatch):
        make_agent("PC-LYON-07")
        run, _unenrolled = make_run(machine_id="PC-LYON-07"), make_run(machine_id="PC-LYON-08")
        make_run(machine_id="PC-PARIS-1")
        monkeypatch.setattr(matching, "LOG_ROWS", 1)
        assert listed(q="lyon") == {run.pk}

    @pytest.mark.parametrize(("licences", "is_cut"), [(3, False), (4, True)])
    def test_list_says_if_a_customer_has_too_many_licences_to_search(
        self, admin_client, make_run, monkeypatch, licences, is_cut
    ):
        monkeypatch.setattr(matching, "MOST_NAMES", 3)
        for number in range(licences):
            create_licence(f"LIC-{number}")
            make_run(license_ref=f"LIC-{number}")
        response = admin_client.get(LIST, {"q": "Acme"})
        assert response.context["cl"].result_count == 3
        assert ("Only the rows of the first 3 matching names are shown." in response.content.decode()) == is_cut

    def test_search_finds_runs_of_many_licences(self, admin_client, make_run):
        for number in range(205):
            create_licence(f"LIC-{number}")
            make_run(license_ref=f"LIC-{number}")
        response = admin_client.get(LIST, {"q": "Acme"})
        assert response.context["cl"].result_count == 205
        assert response.context["cl"].search_notes == []

    def test_list_does_not_load_documents(self, admin_client, make_run, django_assert_max_num_queries):
        make_run()
        with django_assert_max_num_queries(10) as queries:
            admin_client.get(LIST)
        assert not any('"usage_run"."documents"' in query["sql"] for query in queries)


class TestRunPage:
    def page(self, client, run):
        return client.get(reverse("admin:usage_run_change", args=[run.pk])).content.decode()

    def test_page_lists_documents_and_counts_the_rest(self, admin_client, make_run, monkeypatch):
        monkeypatch.setattr("usage.admin.runs.SHOWN_DOCUMENTS", 2)
        text = self.page(admin_client, make_run(failed=1, succeeded=4))
        assert text.count("<td>pdf</td>") == 2
        assert "and 3 more documents" in text

    def test_document_of_nulls_is_listed(self, admin_client, make_run):
        run = make_run()
        run.documents = [dict.fromkeys(run.documents[0])]
        run.save()
        assert "<td>unknown</td>" in self.page(admin_client, run)

    @pytest.mark.parametrize(
        ("dropped", "words"),
        [(0, "only documented keys"), (1, "1 undocumented key was"), (3, "3 undocumented keys were")],
    )
    def test_page_explains_dropped_keys(self, admin_client, make_run, dropped, words):
        assert words in self.page(admin_client, make_run(dropped_keys=dropped))

    def test_page_links_to_licence(self, admin_client, make_run):
        licence = create_licence(customer="")
        text = self.page(admin_client, make_run())
        assert f'<a href="/admin/usage/licence/{licence.pk}/change/">LIC-1</a>' in text
        assert "no customer" in text

    def test_unknown_licence_is_shown_without_link(self, admin_client, make_run):
        assert "LIC-77" in self.page(admin_client, make_run(license_ref="LIC-77"))

    def test_page_links_to_machine(self, admin_client, make_run):
        assert "/admin/agents/agent/?q=PC-1" in self.page(admin_client, make_run())
