"""What became of each backup, in the admin: a list that finds it, and a page that says why."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backups.admin import entries as entries_admin
from backups.models import Status
from backups.reasons import reason
from backups.tests.entries import HASH, entry_of
from backups.tests.pages import logged_in, text_of

pytestmark = pytest.mark.django_db
LIST = "/admin/backups/backupentry/"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def found(client, **query):
    return {entry.pk for entry in client.get(LIST, query).context["cl"].queryset}


def page(client, entry):
    return text_of(client.get(f"{LIST}{entry.pk}/change/"))


class TestTheList:
    def test_it_says_when_what_and_why(self, admin_client, make_job):
        job = make_job("crm", "SRV-1")
        entry = entry_of(job, Status.FAILED, reasons=[reason("step_failed", section="BACKUP")])
        entry_of(job, ago=DAY, warnings=["shrunk"], late=True)
        text = text_of(admin_client.get(LIST))
        for part in (
            f"{entry.cycle_at:%Y-%m-%d %H:%M} UTC", "crm", "SRV-1", '<span class="badge badge-bad">failed</span>',
            "The machine says that the step BACKUP failed.", "late</span>", "It is much smaller than the last ones.",
        ):  # fmt: skip
            assert part in text

    def test_what_is_well_needs_no_reason(self, admin_client, job):
        entry_of(job)
        assert "Hash and size" not in text_of(admin_client.get(LIST))

    @pytest.mark.parametrize(
        ("query", "names"),
        [({"expected": "day"}, {"ok", "late", "odd", "early"}), ({"expected": "month"}, {"ok", "late", "odd", "early", "bad", "long ago"}),
         ({"status": "MISSING"}, {"bad"}), ({"late": "yes"}, {"late"}), ({"doubts": "yes"}, {"odd"}),
         ({"storage": "unstored"}, {"bad"}), ({"q": "lat"}, {"late"}), ({"q": "SRV-9"}, {"odd"}), ({"q": "srv-9"}, {"odd"}),
         ({"q": "RV-9"}, set()), ({"q": "SRV-9", "status": "MISSING"}, set()), ({"q": " "}, {"ok", "late", "odd", "early", "bad", "long ago"})],
    )  # fmt: skip
    def test_it_can_be_narrowed_down(self, admin_client, make_job, query, names):
        made = {
            "ok": entry_of(make_job("ok")),
            "late": entry_of(make_job("late"), late=True),
            "odd": entry_of(make_job("odd", "SRV-9"), warnings=["early", "empty"]),
            "early": entry_of(make_job("early"), warnings=["early"]),
            "bad": entry_of(make_job("bad"), Status.MISSING, 3 * DAY, promotion="lost"),
            "long ago": entry_of(make_job("old"), ago=20 * DAY, late=True, warnings=["empty"]),
        }
        assert found(admin_client, **query) == {made[name].pk for name in names}

    def test_a_search_that_finds_very_many_databases_is_bounded(self, admin_client, make_job, monkeypatch):
        monkeypatch.setattr(entries_admin, "MOST_JOBS_FOUND", 2)
        for number in range(3):
            entry_of(make_job(f"db{number}"))
        assert len(found(admin_client, q="db")) == 2

    def test_it_costs_the_same_however_many_there_are(self, admin_client, make_job):
        def queries():
            with CaptureQueriesContext(connection) as captured:
                admin_client.get(LIST)
            return len(captured)

        entry_of(make_job("first"))
        few = queries()
        for number in range(20):
            entry_of(make_job(f"db{number}"))
        assert (few, queries()) == (4, 4)

    def test_an_export_names_database_and_machine(self, admin_client, make_job):
        entry = entry_of(make_job("crm", "SRV-1"))
        lines = b"".join(act_on(admin_client, entry).streaming_content).decode("utf-8-sig").splitlines()
        assert lines[0].startswith("agent_id,database_name,cycle_at,status")
        assert lines[1].startswith("SRV-1,crm,")


def act_on(client, entry):
    return client.post(LIST, {"action": "export_chosen", "_selected_action": [entry.pk]})


class TestThePage:
    def test_both_sides_stand_in_full(self, admin_client, job):
        entry = entry_of(
            job, Status.TRANSFER_INTEGRITY_FAILED, agent_sha256="b" * 64, agent_size=1_000_000,
            server_sha256="c" * 64, server_size=999_999, report_name="OPERATION_x.json",
        )  # fmt: skip
        text = page(admin_client, entry)
        for part in ("b" * 64, "c" * 64, "≠ 1,000,000 bytes", "≠ 999,999 bytes", "OPERATION_x.json"):
            assert part in text

    def test_a_size_alone_may_differ(self, admin_client, job):
        text = page(admin_client, entry_of(job, agent_size=4097))
        assert text.count("≠") == 2
        assert f"≠ <code>{HASH}" not in text

    def test_it_leads_to_its_database_and_machine(self, admin_client, job):
        text = page(admin_client, entry_of(job))
        assert f'href="/admin/backups/expectedbackupjob/{job.pk}/change/"' in text
        assert f'href="/admin/agents/agent/?q={job.agent_id}"' in text

    def test_what_was_missing_at_first_says_so(self, admin_client, job):
        assert "It was at first: missing." in page(admin_client, entry_of(job, late=True, first_status=Status.MISSING))
        assert "It was at first" not in page(admin_client, entry_of(job, ago=DAY))

    def test_why_it_is_not_stored(self, admin_client, job):
        text = page(admin_client, entry_of(job, promotion="failed", promotion_reason=reason("storage_full")))
        assert "could not be stored</span>" in text
        assert "No space is left for the verified backup." in text

    def test_where_it_is_stored(self, admin_client, job):
        assert "ACME/crm/versions/x.sql.gz" in page(
            admin_client, entry_of(job, stored_path="ACME/crm/versions/x.sql.gz")
        )

    def test_a_viewer_sees_it(self, client, job):
        entry = entry_of(job)
        logged_in(client, "viewer")
        assert client.get(f"{LIST}{entry.pk}/change/").status_code == 200
        assert client.get(f"{LIST}export/").status_code == 403

    def test_nobody_writes_it_by_hand(self, client, job):
        entry = entry_of(job)
        logged_in(client, "operator")
        assert client.post(f"{LIST}{entry.pk}/change/", {"late": "on"}).status_code == 403
        assert client.post(f"{LIST}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.get(f"{LIST}add/").status_code == 403
