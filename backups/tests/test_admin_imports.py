"""The import of expected backups in the admin: upload, preview, confirmation."""

import html
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from backups.admin import imports
from backups.models import ExpectedBackupJob
from backups.tests.admin_pages import LIST
from portal.tests.helpers.admin_pages import audit_events, log_in_with_role, messages_of, page_text

pytestmark = pytest.mark.django_db
IMPORT = f"{LIST}import/"
TWO = "agent_id,database_name,keep_last\nSRV-1,crm,9\nSRV-2,paie,\n"


def send(client, content):
    file = SimpleUploadedFile("jobs.csv", content if isinstance(content, bytes) else content.encode())
    return client.post(IMPORT, {"file": file})


def carried(response):
    found = re.search(r'name="rows" value="([^"]*)"', page_text(response))
    return html.unescape(found[1]) if found else None


def go(client, response, **options):
    return client.post(IMPORT, {"rows": carried(response)}, **options)


def names():
    return sorted(ExpectedBackupJob.objects.values_list("agent_id", "database_name", "keep_last"))


class TestThePreview:
    def test_separator_line_of_excel_is_read(self, admin_client):
        go(admin_client, send(admin_client, "sep=;\r\nagent_id;database_name;keep_last\r\nSRV-1;a,b;9\r\n"))
        assert names() == [("SRV-1", "a,b", 9)]

    def test_preview_shows_the_action_of_each_row_and_writes_nothing(self, admin_client, make_job):
        make_job("crm", "SRV-1")
        make_job("web", "SRV-3")
        response = send(admin_client, TWO + "SRV-3,web,7\n")
        text = page_text(response)
        assert "To add: 1; to update: 1; unchanged: 1." in text
        assert [(row["line"], row["database_name"], row["details"]) for row in response.context["shown"]] == [
            (2, "crm", ["keep_last: 9"]), (3, "paie", []),
        ]  # fmt: skip
        assert names() == [("SRV-1", "crm", 7), ("SRV-3", "web", 7)]
        assert audit_events("backups.jobs_imported") == []

    def test_refused_row_shows_its_reason_and_blocks_the_import(self, admin_client):
        response = send(admin_client, TWO + "SRV 3,web,many\n")
        text = page_text(response)
        assert "1 row has errors, so nothing was imported." in text
        first = response.context["shown"][0]
        assert (first["line"], first["is_refused"]) == (4, True)
        assert "keep_last: Enter a whole number." in first["details"]
        assert carried(response) is None

    @pytest.mark.parametrize(
        ("content", "words"),
        [("", "The file is empty"), ("agent_id\nSRV-1\n", "The column database_name is missing."),
         (b"PK\x03\x04", "The workbook can’t be read"), ("a,a\n1,1\n", "A column name appears twice")],
    )  # fmt: skip
    def test_unreadable_file_shows_an_error(self, admin_client, content, words):
        response = send(admin_client, content)
        assert words in page_text(response)
        assert carried(response) is None

    def test_missing_file_shows_an_error(self, admin_client):
        assert "Choose a file first." in page_text(admin_client.post(IMPORT, {}))

    def test_unknown_columns_are_listed(self, admin_client):
        assert "These columns are not imported: colour." in page_text(
            send(admin_client, "agent_id,database_name,colour\nS,d,red\n")
        )

    def test_unchanged_table_offers_no_import(self, admin_client, make_job):
        make_job("crm", "SRV-1")
        response = send(admin_client, "agent_id,database_name\nSRV-1,crm\n")
        assert "No changes" in page_text(response)
        assert carried(response) is None

    def test_exported_table_changes_nothing(self, admin_client, make_job):
        make_job("crm", "SRV-1", company_name="=1+1", city="-", days_of_week="MO,TU", max_shrink_percent=None)
        for url in (f"{LIST}export/fields/", f"{LIST}export/fields/xlsx/"):
            response = admin_client.get(url)
            content = b"".join(response.streaming_content) if response.streaming else response.content
            assert "No changes" in page_text(send(admin_client, content))

    def test_preview_is_limited_and_shows_refused_rows_first(self, admin_client, monkeypatch):
        monkeypatch.setattr(imports, "MAX_SHOWN_ROWS", 2)
        response = send(admin_client, TWO + "SRV-3,web,many\n")
        assert [row["database_name"] for row in response.context["shown"]] == ["web", "crm"]
        assert "and 1 more" in page_text(response)

    def test_cell_content_is_escaped(self, admin_client):
        text = page_text(
            send(admin_client, "agent_id,database_name,company_name\nSRV-1,crm,<script>alert(1)</script>\n")
        )
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text


class TestGoing:
    def test_confirmed_import_is_applied_and_audited(self, client, make_job):
        log_in_with_role(client, "operator")
        make_job("crm", "SRV-1")
        response = go(client, send(client, TWO), follow=True)
        assert messages_of(response) == ["Import complete. Added: 1; updated: 1; unchanged: 0."]
        assert names() == [("SRV-1", "crm", 9), ("SRV-2", "paie", 7)]
        assert audit_events("backups.jobs_imported") == [("", {"created": 1, "changed": 1, "unchanged": 0})]

    def test_import_after_a_change_is_previewed_again(self, admin_client, make_job):
        previewed = send(admin_client, TWO)
        make_job("crm", "SRV-1")
        response = go(admin_client, previewed)
        assert "Nothing was imported: check the preview again." in page_text(response)
        assert names() == [("SRV-1", "crm", 7)]
        assert go(admin_client, response).status_code == 302
        assert names() == [("SRV-1", "crm", 9), ("SRV-2", "paie", 7)]

    def test_import_refused_since_the_preview_writes_nothing(self, admin_client, make_job):
        previewed = send(admin_client, TWO)
        make_job("other", "SRV-9", final_storage_path_template="_/_/paie")
        response = go(admin_client, previewed)
        assert "Nothing was imported: check the preview again." in page_text(response)
        assert "stored in the same folder" in page_text(response)
        assert names() == [("SRV-9", "other", 7)]

    @pytest.mark.parametrize("rows", ["", "nonsense", "eyJhIjoxfQ:1tX:abc"])
    def test_rows_without_valid_signature_are_refused(self, admin_client, rows):
        assert "The preview has expired" in page_text(admin_client.post(IMPORT, {"rows": rows}))
        assert names() == []

    def test_rows_of_an_expired_preview_are_refused(self, admin_client, monkeypatch):
        previewed = send(admin_client, TWO)
        monkeypatch.setattr(imports, "SIGNED_FOR_SECONDS", -1)
        assert "The preview has expired" in page_text(go(admin_client, previewed))
        assert names() == []


class TestItsBounds:
    def test_oversized_upload_is_not_stored(self, admin_client, monkeypatch):
        monkeypatch.setattr("portal.base.uploads.MOST_BYTES", 1_000)
        response = send(admin_client, "agent_id,database_name\n" + "x" * 2_000)
        assert "The file is larger than 5 MiB." in page_text(response)
        assert not response.wsgi_request.FILES

    def test_table_too_large_for_the_form_is_refused(self, admin_client, monkeypatch):
        monkeypatch.setattr(imports, "MAX_SIGNED_BYTES", 50)
        response = send(admin_client, TWO)
        assert "too large to preview" in page_text(response)
        assert carried(response) is None

    @pytest.mark.parametrize("codename", ["add_expectedbackupjob", "change_expectedbackupjob"])
    def test_one_of_both_permissions_does_not_suffice_to_import(self, client, codename):
        user = User.objects.create_user("olga", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename=codename))
        client.force_login(user)
        assert send(client, TWO).status_code == 403

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_import_needs_add_and_change_permission(self, client, role):
        log_in_with_role(client, role)
        assert client.get(IMPORT).status_code == 403
        assert send(client, TWO).status_code == 403
        assert "Import…" not in page_text(client.get(LIST))

    def test_operator_sees_the_import_link(self, client):
        log_in_with_role(client, "operator")
        assert f'href="{IMPORT}"' in page_text(client.get(LIST))
        assert "keep_monthly" in page_text(client.get(IMPORT))

    def test_import_without_csrf_token_is_refused(self, admin_client):
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = admin_client.cookies
        assert send(strict, TWO).status_code == 403

    def test_import_page_needs_a_login(self, client):
        assert client.get(IMPORT).status_code == 302
