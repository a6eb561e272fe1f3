"""The admin of backup entries: list, search, export and page."""

import csv
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backups.models import Status
from backups.reasons import make_reason
from backups.tests.factories import HASH, make_entry
from portal.desk import matching
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
LIST = "/admin/backups/backupentry/"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def found(client, **query):
    return {entry.pk for entry in client.get(LIST, query).context["cl"].queryset}


def page(client, entry):
    return page_text(client.get(f"{LIST}{entry.pk}/change/"))


class TestTheList:
    def test_list_shows_time_status_and_reasons(self, admin_client, make_job):
        job = make_job("crm", "SRV-1")
        entry = make_entry(job, Status.FAILED, reasons=[make_reason("step_failed", section="BACKUP")])
        make_entry(job, ago=DAY, warnings=["shrunk"], late=True)
        text = page_text(admin_client.get(LIST))
        for part in (
            f"{entry.cycle_at:%Y-%m-%d %H:%M}:", "crm", "SRV-1", '<span class="badge badge-bad">failed</span>',
            "Step “BACKUP” failed on the machine.", "late</span>", "It is much smaller than the previous dumps.",
        ):  # fmt: skip
            assert part in text

    def test_plain_success_shows_no_reason(self, admin_client, job):
        make_entry(job)
        assert "SHA-256 and size match" not in page_text(admin_client.get(LIST))

    @pytest.mark.parametrize(
        ("query", "names"),
        [({"expected": "day"}, {"ok", "late", "odd", "early"}), ({"expected": "month"}, {"ok", "late", "odd", "early", "bad", "long ago"}),
         ({"status": "MISSING"}, {"bad"}), ({"late": "yes"}, {"late"}), ({"doubts": "yes"}, {"odd"}),
         ({"storage": "unstored"}, {"bad"}), ({"q": "lat"}, {"late"}), ({"q": "SRV-9"}, {"odd"}), ({"q": "srv-9"}, {"odd"}),
         ({"q": "RV-9"}, {"odd"}), ({"q": "V-"}, set()), ({"q": "SRV-9", "status": "MISSING"}, set()), ({"q": " "}, {"ok", "late", "odd", "early", "bad", "long ago"})],
    )  # fmt: skip
    def test_list_is_filtered_by_each_filter(self, admin_client, make_job, query, names):
        made = {
            "ok": make_entry(make_job("ok")),
            "late": make_entry(make_job("late"), late=True),
            "odd": make_entry(make_job("odd", "SRV-9"), warnings=["early", "empty"]),
            "early": make_entry(make_job("early"), warnings=["early"]),
            "bad": make_entry(make_job("bad"), Status.MISSING, 3 * DAY, promotion="lost"),
            "long ago": make_entry(make_job("old"), ago=20 * DAY, late=True, warnings=["empty"]),
        }
        assert found(admin_client, **query) == {made[name].pk for name in names}

    def test_search_is_limited_to_the_first_matching_jobs(self, admin_client, make_job, monkeypatch):
        monkeypatch.setattr(matching, "MOST_NAMES", 2)
        for number in range(3):
            make_entry(make_job(f"db{number}"))
        assert len(found(admin_client, q="db")) == 2
        assert "Only the rows of the first 2 matching names" in admin_client.get(LIST, {"q": "db"}).content.decode()

    def test_list_takes_as_many_queries_for_many_entries_as_for_few(self, admin_client, make_job):
        def queries():
            with CaptureQueriesContext(connection) as captured:
                admin_client.get(LIST)
            return len(captured)

        make_entry(make_job("first"))
        few = queries()
        for number in range(20):
            make_entry(make_job(f"db{number}"))
        assert (few, queries()) == (4, 4)

    def test_export_contains_database_and_machine(self, admin_client, make_job):
        entry = make_entry(make_job("crm", "SRV-1"))
        lines = b"".join(act_on(admin_client, entry).streaming_content).decode("utf-8-sig").splitlines()
        assert lines[0].startswith("Status,Scheduled,")
        assert "crm; SRV-1" in lines[1]
        (row,) = csv.DictReader(lines)
        assert row["Size (bytes)"] == str(entry.server_size)


def act_on(client, entry):
    return client.post(LIST, {"action": "export_chosen", "_selected_action": [entry.pk]})


class TestThePage:
    def test_page_shows_full_sizes_and_hashes_of_both_sides(self, admin_client, job):
        entry = make_entry(
            job, Status.TRANSFER_INTEGRITY_FAILED, agent_sha256="b" * 64, agent_size=1_000_000,
            server_sha256="c" * 64, server_size=999_999, report_name="OPERATION_x.json",
        )  # fmt: skip
        text = page(admin_client, entry)
        for part in ("b" * 64, "c" * 64, "≠ 1,000,000 bytes", "≠ 999,999 bytes", "OPERATION_x.json"):
            assert part in text

    def test_differing_size_is_marked_alone(self, admin_client, job):
        text = page(admin_client, make_entry(job, agent_size=4097))
        assert text.count("≠") == 2
        assert f"≠ <code>{HASH}" not in text

    def test_page_links_to_job_and_machine(self, admin_client, job):
        text = page(admin_client, make_entry(job))
        assert f'href="/admin/backups/expectedbackupjob/{job.pk}/change/"' in text
        assert f'href="/admin/agents/agent/?q={job.agent_id}"' in text

    def test_page_shows_the_first_status(self, admin_client, job):
        assert "First status: missing." in page(admin_client, make_entry(job, late=True, first_status=Status.MISSING))
        assert "It was at first" not in page(admin_client, make_entry(job, ago=DAY))

    def test_page_shows_why_a_dump_is_not_stored(self, admin_client, job):
        text = page(admin_client, make_entry(job, promotion="failed", promotion_reason=make_reason("storage_full")))
        assert "storage failed</span>" in text
        assert "No space left for the verified backup." in text

    def test_page_shows_the_stored_path(self, admin_client, job):
        assert "ACME/crm/versions/x.sql.gz" in page(
            admin_client, make_entry(job, stored_path="ACME/crm/versions/x.sql.gz")
        )

    def test_viewer_sees_the_page(self, client, job):
        entry = make_entry(job)
        log_in_with_role(client, "viewer")
        assert client.get(f"{LIST}{entry.pk}/change/").status_code == 200
        assert client.get(f"{LIST}export/").status_code == 403

    def test_entries_are_read_only(self, client, job):
        entry = make_entry(job)
        log_in_with_role(client, "operator")
        assert client.post(f"{LIST}{entry.pk}/change/", {"late": "on"}).status_code == 403
        assert client.post(f"{LIST}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.get(f"{LIST}add/").status_code == 403
