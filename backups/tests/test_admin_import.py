"""Importing expected backups in the admin: first what it would do, then all of it or nothing."""

import html
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from backups.admin import imports
from backups.models import ExpectedBackupJob
from backups.tests.pages import LIST, events, logged_in, said, text_of

pytestmark = pytest.mark.django_db
IMPORT = f"{LIST}import/"
TWO = "agent_id,database_name,keep_last\nSRV-1,crm,9\nSRV-2,paie,\n"


def send(client, content):
    file = SimpleUploadedFile("jobs.csv", content if isinstance(content, bytes) else content.encode())
    return client.post(IMPORT, {"file": file})


def carried(response):
    found = re.search(r'name="rows" value="([^"]*)"', text_of(response))
    return html.unescape(found[1]) if found else None


def go(client, response, **options):
    return client.post(IMPORT, {"rows": carried(response)}, **options)


def names():
    return sorted(ExpectedBackupJob.objects.values_list("agent_id", "database_name", "keep_last"))


class TestThePreview:
    def test_line_of_excel_names_the_separator(self, admin_client):
        go(admin_client, send(admin_client, "sep=;\r\nagent_id;database_name;keep_last\r\nSRV-1;a,b;9\r\n"))
        assert names() == [("SRV-1", "a,b", 9)]

    def test_it_says_what_each_row_would_do_and_writes_nothing(self, admin_client, make_job):
        make_job("crm", "SRV-1")
        make_job("web", "SRV-3")
        response = send(admin_client, TWO + "SRV-3,web,7\n")
        text = text_of(response)
        assert "Would be added: 1; changed: 1; left as they are: 1." in text
        assert [(row.line, row.database_name, row.details) for row in response.context["shown"]] == [
            (2, "crm", ["keep_last: 9"]), (3, "paie", []),
        ]  # fmt: skip
        assert names() == [("SRV-1", "crm", 7), ("SRV-3", "web", 7)]
        assert events("backups.jobs_imported") == []

    def test_a_refused_row_says_why_and_lets_nothing_through(self, admin_client):
        response = send(admin_client, TWO + "SRV 3,web,many\n")
        text = text_of(response)
        assert "1 row is refused, so nothing is imported." in text
        first = response.context["shown"][0]
        assert (first.line, first.is_refused) == (4, True)
        assert "keep_last: A whole number is expected." in first.details
        assert carried(response) is None

    @pytest.mark.parametrize(
        ("content", "words"),
        [("", "The file is empty"), ("agent_id\nSRV-1\n", "The column database_name is missing."),
         (b"PK\x03\x04", "The workbook cannot be read"), ("a,a\n1,1\n", "A column is named twice")],
    )  # fmt: skip
    def test_a_file_that_is_none_is_answered_with_a_sentence(self, admin_client, content, words):
        response = send(admin_client, content)
        assert words in text_of(response)
        assert carried(response) is None

    def test_without_a_file_it_asks_for_one(self, admin_client):
        assert "Choose a file first." in text_of(admin_client.post(IMPORT, {}))

    def test_columns_that_mean_nothing_are_named(self, admin_client):
        assert "These columns are not imported: colour." in text_of(
            send(admin_client, "agent_id,database_name,colour\nS,d,red\n")
        )

    def test_what_changes_nothing_cannot_be_imported(self, admin_client, make_job):
        make_job("crm", "SRV-1")
        response = send(admin_client, "agent_id,database_name\nSRV-1,crm\n")
        assert "Nothing would change" in text_of(response)
        assert carried(response) is None

    def test_what_was_exported_changes_nothing(self, admin_client, make_job):
        make_job("crm", "SRV-1", company_name="=1+1", city="-", days_of_week="MO,TU", max_shrink_percent=None)
        for url in (f"{LIST}export/", f"{LIST}export/xlsx/"):
            response = admin_client.get(url)
            content = b"".join(response.streaming_content) if response.streaming else response.content
            assert "Nothing would change" in text_of(send(admin_client, content))

    def test_the_rows_shown_are_bounded_and_the_refused_ones_come_first(self, admin_client, monkeypatch):
        monkeypatch.setattr(imports, "SHOWN_ROWS", 2)
        response = send(admin_client, TWO + "SRV-3,web,many\n")
        assert [row.database_name for row in response.context["shown"]] == ["web", "crm"]
        assert "and 1 more" in text_of(response)

    def test_what_a_cell_holds_is_only_text(self, admin_client):
        text = text_of(send(admin_client, "agent_id,database_name,company_name\nSRV-1,crm,<script>alert(1)</script>\n"))
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text


class TestGoing:
    def test_all_of_it_is_written_and_that_is_on_record(self, client, make_job):
        logged_in(client, "operator")
        make_job("crm", "SRV-1")
        response = go(client, send(client, TWO), follow=True)
        assert said(response) == ["Imported. Added: 1; changed: 1; left as they were: 0."]
        assert names() == [("SRV-1", "crm", 9), ("SRV-2", "paie", 7)]
        assert events("backups.jobs_imported") == [("", {"created": 1, "changed": 1, "unchanged": 0})]

    def test_what_has_changed_meanwhile_is_shown_again(self, admin_client, make_job):
        previewed = send(admin_client, TWO)
        make_job("crm", "SRV-1")
        response = go(admin_client, previewed)
        assert "Nothing was imported: look again." in text_of(response)
        assert names() == [("SRV-1", "crm", 7)]
        assert go(admin_client, response).status_code == 302
        assert names() == [("SRV-1", "crm", 9), ("SRV-2", "paie", 7)]

    def test_what_has_become_impossible_is_not_done(self, admin_client, make_job):
        previewed = send(admin_client, TWO)
        make_job("other", "SRV-9", final_storage_path_template="_/_/paie")
        response = go(admin_client, previewed)
        assert "Nothing was imported: look again." in text_of(response)
        assert "stored in the same folder" in text_of(response)
        assert names() == [("SRV-9", "other", 7)]

    @pytest.mark.parametrize("rows", ["", "nonsense", "eyJhIjoxfQ:1tX:abc"])
    def test_rows_that_were_not_previewed_are_not_taken(self, admin_client, rows):
        assert "The preview is too old" in text_of(admin_client.post(IMPORT, {"rows": rows}))
        assert names() == []

    def test_nor_those_of_long_ago(self, admin_client, monkeypatch):
        previewed = send(admin_client, TWO)
        monkeypatch.setattr(imports, "CARRIED_SECONDS", -1)
        assert "The preview is too old" in text_of(go(admin_client, previewed))
        assert names() == []


class TestItsBounds:
    def test_a_large_file_is_not_even_stored(self, admin_client, monkeypatch):
        monkeypatch.setattr("portal.base.uploads.MOST_BYTES", 1_000)
        response = send(admin_client, "agent_id,database_name\n" + "x" * 2_000)
        assert "The file is larger than 5 MiB." in text_of(response)
        assert not response.wsgi_request.FILES

    def test_what_does_not_fit_into_a_form_is_not_previewed(self, admin_client, monkeypatch):
        monkeypatch.setattr(imports, "MOST_CARRIED", 50)
        response = send(admin_client, TWO)
        assert "too much to be previewed" in text_of(response)
        assert carried(response) is None

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_others_do_not_import(self, client, role):
        logged_in(client, role)
        assert client.get(IMPORT).status_code == 403
        assert send(client, TWO).status_code == 403
        assert "Import…" not in text_of(client.get(LIST))

    def test_an_operator_is_offered_it(self, client):
        logged_in(client, "operator")
        assert f'href="{IMPORT}"' in text_of(client.get(LIST))
        assert "keep_monthly" in text_of(client.get(IMPORT))

    def test_without_its_token_a_form_is_not_taken(self, admin_client):
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = admin_client.cookies
        assert send(strict, TWO).status_code == 403

    def test_nobody_unknown_gets_there(self, client):
        assert client.get(IMPORT).status_code == 302
