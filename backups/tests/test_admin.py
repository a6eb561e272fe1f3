"""The admin of expected backups: list, heading, page and form."""

import csv
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.admin import actions, display, jobs
from backups.admin.heading import format_length
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Status
from backups.reasons import make_reason
from backups.scanner import orchestration
from backups.tests.admin_pages import LIST, job_page, listed_databases, post_action_on_page
from backups.tests.factories import HASH, make_entry, make_finished_scan, set_status
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import audit_events, log_in_with_role, page_text
from portal.work.queue import enqueue

pytestmark = pytest.mark.django_db
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


class TestTheList:
    def test_list_shows_the_status_of_each_database_as_a_badge(self, admin_client, make_job):
        set_status(make_job("a"))
        set_status(make_job("b"), Status.MISSING)
        set_status(make_job("c"), Status.UNCHANGED)
        set_status(make_job("d"), Status.UNCHANGED, unchanged_policy="alert")
        set_status(make_job("e"), Status.UNVERIFIED, watched_since=timezone.now())
        set_status(make_job("h"), ago=3 * DAY)
        set_status(make_job("f"), Status.SUCCESS, is_active=False)
        make_job("g")
        text = page_text(admin_client.get(LIST))
        for tone, word in (
            ("good", "verified"), ("bad", "missing"), ("good", "unchanged"), ("bad", "unchanged"),
            ("warning", "superseded before verification"), ("quiet", "paused"), ("warning", "overdue"), ("warning", "none yet"),
        ):  # fmt: skip
            assert f'<span class="badge badge-{tone}">{word}</span>' in text
        assert text.count('badge-good">verified') == 1

    def test_list_shows_lateness_warnings_and_damage_beside_the_status(self, admin_client, make_job):
        job = make_job("a")
        make_entry(job, ago=2 * DAY, warnings=["empty"])
        assert "1 warning<" in page_text(admin_client.get(LIST))
        make_entry(job, late=True)
        text = page_text(admin_client.get(LIST))
        assert "late</span>" in text
        assert "1 warning<" not in text
        set_status(make_job("b"), damage=make_reason("current_differs"))
        assert "stored backup corrupted" in page_text(admin_client.get(LIST))

    def test_export_has_the_size_in_bytes_and_the_moment_of_the_last_backup(self, admin_client, make_job):
        at = datetime(2026, 3, 10, 9, 12, 44, tzinfo=UTC)
        make_entry(make_job("a", last_verified_at=at), ago=2 * DAY, server_size=9 * 1024**3)
        make_job("b")
        content = b"".join(admin_client.get(f"{LIST}export/").streaming_content).decode("utf-8-sig")
        first, second = csv.DictReader(content.splitlines())
        assert (first["Size (bytes)"], first["Last verified backup"]) == (str(9 * 1024**3), "2026-03-10T09:12:44.000Z")
        assert (second["Size (bytes)"], second["Last verified backup"]) == ("", "")

    def test_list_shows_the_size_of_the_last_good_dump(self, admin_client, job):
        make_entry(job, ago=2 * DAY, server_size=9 * 1024**3)
        make_entry(job, Status.TRANSFER_INTEGRITY_FAILED, server_size=12)
        assert ">9.0\xa0GB</span>" in page_text(admin_client.get(LIST))

    @pytest.mark.parametrize(
        ("query", "found"),
        [({"attention": "yes"}, {"failing", "damaged"}), ({"attention": "no"}, {"safe"}),
         ({"attention": "overdue"}, {"stale"}), ({"attention": "waiting"}, {"stale", "new"}),
         ({"attention": "pending"}, {"new"}), ({"attention": "paused"}, {"off", "resting"}),
         ({"status": "MISSING"}, {"failing", "off"}), ({"paused": "off"}, {"off"}), ({"paused": "while"}, {"resting"}),
         ({"frequency": "weekly"}, {"resting"}), ({"stale": "days"}, {"stale", "failing", "off"}),
         ({"stale": "week"}, {"failing", "off"}), ({"q": "SRV-9"}, {"safe"}), ({"q": "sta"}, {"stale"}), ({"q": "ACME"}, {"new"}),
         ({"q": "Zeta"}, set())],
    )  # fmt: skip
    def test_list_is_filtered_by_each_filter(self, admin_client, make_job, query, found):
        now = timezone.now()
        common = {"company_name": "Beta"}
        set_status(make_job("safe", "SRV-9", **common))
        set_status(make_job("stale", **common), ago=3 * DAY)
        set_status(make_job("failing", **common), Status.MISSING)
        set_status(make_job("damaged", **common), damage=make_reason("current_absent"))
        set_status(make_job("off", **common), Status.MISSING, is_active=False)
        set_status(make_job("resting", **common), paused_until=now + DAY, expected_frequency="weekly")
        make_job("new", created_at=now, watched_since=now)
        assert listed_databases(admin_client, **query) == found

    def test_list_takes_as_many_queries_for_many_jobs_as_for_few(self, admin_client, make_job):
        def queries():
            cache.clear()
            with CaptureQueriesContext(connection) as captured:
                assert admin_client.get(LIST).status_code == 200
            return len(captured)

        set_status(make_job("first"))
        few = queries()
        for number in range(30):
            job = make_job(f"db{number}")
            set_status(job, Status.MISSING)
            make_entry(job, ago=2 * DAY)
        # Session, user; count, rows; newest entries in two; totals, and three for the scans.
        assert (few, queries()) == (10, 10)


class TestTheHeading:
    def test_heading_counts_protected_databases_and_links_to_the_others(self, admin_client, make_job):
        set_status(make_job("a"))
        set_status(make_job("b"), Status.FAILED)
        text = page_text(admin_client.get(LIST))
        assert "<strong>1 of 2</strong>" in text
        assert '<a href="?attention=yes">1 failing</a>' in text

    def test_heading_shows_the_counters_of_the_last_scan(self, admin_client):
        make_finished_scan(agents=7, jobs=1234, recorded=21, pending=3, failures=2, errors=1, bytes_hashed=3 * 1024**3)
        heading = admin_client.get(LIST).context["heading"]
        facts = {fact.name: (str(fact.value), fact.is_bad) for fact in [*heading["facts"], *heading["counters"]]}
        assert "4\xa0min ago" in facts.pop("Last scan")[0]
        assert facts == {
            "Duration": ("12 s", False), "Machines scanned": ("7", False), "Expected backups": ("1,234", False),
            "Results recorded": ("21", False), "Pending": ("3", False), "Failures": ("2", True),
            "Data hashed": ("3.0\xa0GB", False), "Errors": ("1", True),
        }  # fmt: skip

    def test_heading_shows_a_running_scan(self, admin_client, make_job):
        make_job("a")
        scan = make_finished_scan(finished_at=None, agent_id="SRV-1")
        enqueue("backups.scan_agent", "SRV-1", scan.pk, cluster="slow")
        text = page_text(admin_client.get(LIST))
        assert "SRV-1</span>" in text
        assert ">never</dd>" in text

    def test_heading_shows_an_alert_for_a_missing_root(self, admin_client):
        assert 'role="alert"' not in page_text(admin_client.get(LIST))
        make_finished_scan(root_is_missing=True)
        text = page_text(admin_client.get(LIST))
        assert 'role="alert"' in text
        assert "Duration" not in text

    @pytest.mark.parametrize(
        ("statuses", "tone"),
        [([], "quiet"), ([Status.SUCCESS], "good"), ([Status.SUCCESS, Status.PENDING], "warning"),
         ([Status.SUCCESS, Status.MISSING], "bad")],
    )  # fmt: skip
    def test_figure_is_good_only_if_every_monitored_database_is_protected(self, admin_client, make_job, statuses, tone):
        make_job(is_active=False)
        for number, status in enumerate(statuses):
            set_status(make_job(f"db{number}"), status)
        assert f'class="figure {tone}"' in page_text(admin_client.get(LIST))

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.42, "0.4 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
    )
    def test_duration_is_formatted_in_two_units_at_most(self, seconds, text):
        assert format_length(timedelta(seconds=seconds)) == text


class TestMoments:
    def test_unchanged_backup_shows_the_day_of_its_content(self, job):
        set_status(job, last_success_at=datetime(2026, 1, 10, 3, tzinfo=UTC))
        assert "unchanged since 2026-01-10" in display.last_good(job)
        set_status(job)
        assert "unchanged" not in display.last_good(job)

    def test_paused_job_has_no_next_expected_time(self, make_job):
        assert display.next_expected(make_job(is_active=False)) == "–"


class TestThePageOfADatabase:
    def test_page_shows_the_facts_of_the_job(self, admin_client, job):
        set_status(job, reverified_at=timezone.now() - HOUR, damage=make_reason("current_differs"))
        make_entry(
            job, Status.TRANSFER_INTEGRITY_FAILED, timedelta(minutes=1), agent_size=2_000_000, server_size=1_999_999,
            agent_sha256="b" * 64, server_sha256="c" * 64, late=True, warnings=["shrunk"],
            reasons=[make_reason("hash_differs")],
        )  # fmt: skip
        AuditEvent.objects.create(
            action="backups.paused",
            subject=f"backup:{job}".replace(" ", "/"),
            at=timezone.now(),
            last_at=timezone.now(),
        )
        text = page_text(admin_client.get(job_page(job)))
        for part in (
            "corrupted", "Checksum mismatch: the uploaded file’s SHA-256 differs from the one the machine reported.", "late</span>",
            "It is much smaller than the previous dumps.", "≠ 2,000,000 bytes", "≠ 1,999,999 bytes", "bbbbbbbbbb", "cccccccccc",
            "no longer the verified one", "ACME/_/compta_db", "Paused</td>", HASH,
        ):  # fmt: skip
            assert part in text

    def test_equal_sizes_and_hashes_are_not_marked(self, admin_client, job):
        set_status(job)
        assert "≠" not in page_text(admin_client.get(job_page(job)))

    def test_chart_shows_the_sizes_of_the_last_thirty_successes(self, admin_client, job):
        for number in range(35):
            make_entry(job, ago=number * DAY, server_size=(50 - number) * 1024**2)
        make_entry(job, Status.UNCHANGED, server_size=1)
        chart = admin_client.get(job_page(job)).context["chart"]
        assert (chart.values[-1], chart.values[0], len(chart.values), chart.unit) == (50, 21, 30, "size in MB")

    def test_single_success_has_no_chart(self, admin_client, job):
        make_entry(job)
        response = admin_client.get(job_page(job))
        assert response.context["chart"] is None
        assert "<canvas" not in page_text(response)

    def test_page_limits_entries_and_versions(self, admin_client, job):
        for number in range(25):
            make_entry(
                job, ago=number * DAY, promotion="archived" if number else "promoted", stored_path=f"ACME/{number}.gz"
            )
        entries, _drills, _assertions, versions, _history = admin_client.get(job_page(job)).context["sections"]
        assert (len(entries.rows), entries.note) == (20, "Older ones are not shown.")
        assert len(versions.rows) == 25
        assert ["ACME/0.gz" in row[2] for row in versions.rows[:2]] == [True, False]
        assert {entry.job_id for entry in admin_client.get(entries.url).context["cl"].queryset} == {job.pk}

    def test_page_takes_as_many_queries_for_many_entries_as_for_few(self, admin_client, job):
        def queries():
            with CaptureQueriesContext(connection) as captured:
                admin_client.get(job_page(job))
            return len(captured)

        make_entry(job)
        few = queries()
        for number in range(1, 40):
            make_entry(job, ago=number * DAY, promotion="archived")
        assert queries() == few <= 19

    def test_viewer_sees_the_page_without_actions(self, client, job):
        set_status(job)
        log_in_with_role(client, "viewer")
        text = page_text(client.get(job_page(job)))
        assert "Backup history" in text
        assert 'name="agent_id"' not in text
        for action in (*actions.JobActions.object_actions, "export_chosen"):
            assert f"/act/{action}/" not in text
            assert post_action_on_page(client, action, job).status_code == 403
        assert client.post(job_page(job), {}).status_code == 403
        assert client.get(f"{LIST}export/").status_code == 403
        assert client.get(f"{LIST}export/xlsx/").status_code == 403
        assert client.get(f"{LIST}add/").status_code == 403

    def test_user_without_permissions_only_exports(self, client, job):
        set_status(job)
        log_in_with_role(client, "staff")
        assert client.get(f"{LIST}export/").status_code == 200
        for action in actions.JobActions.object_actions:
            assert post_action_on_page(client, action, job).status_code == 403

    @pytest.mark.one_database("buttons of each state")
    def test_operator_is_offered_the_actions_that_apply(self, client, make_job, make_agent):
        log_in_with_role(client, "operator")
        watched, fresh, paused = make_job("a"), make_job("b"), make_job("c", is_active=False)
        enrolled = make_job("d", agent_id="PC-1")
        make_agent("pc-1")
        set_status(watched)
        pages = {job.database_name: page_text(client.get(job_page(job))) for job in (watched, fresh, paused, enrolled)}
        offered = {
            database: [action for action in actions.JobActions.object_actions if f"/act/{action}/" in page]
            for database, page in pages.items()
        }
        assert offered == {
            "a": ["scan_now", "download", "reverify", "add_assertion", "pause", "duplicate", "issue_enrolment_token"],
            "b": ["scan_now", "add_assertion", "pause", "duplicate", "issue_enrolment_token"],
            "c": ["add_assertion", "resume", "duplicate", "issue_enrolment_token"],
            "d": ["scan_now", "add_assertion", "pause", "duplicate"],
        }


class TestTheForm:
    FIELDS = {
        "agent_id": "SRV-7", "database_name": "crm", "company_name": "ACME", "expected_frequency": "daily",
        "time_of_day": "01:30", "time_zone": "UTC", "window_minutes": 30, "early_minutes": 10,
        "agent_deposit_path_template": "{agent_id}/database", "agent_log_deposit_path_template": "{agent_id}/log",
        "final_storage_path_template": "{company_name}/{database_name}", "min_size_bytes": 0, "max_shrink_percent": 50,
        "unchanged_policy": "inform", "keep_last": 7, "drill_every_days": 7, "keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12,
        "is_active": "on", "deep_check": "on",
    }  # fmt: skip

    def errors(self, client, **fields):
        return client.post(f"{LIST}add/", self.FIELDS | fields).context["adminform"].form.errors

    def test_operator_adds_a_job_and_the_audit_trail_records_it(self, client):
        log_in_with_role(client, "operator")
        response = client.post(f"{LIST}add/", self.FIELDS | {"days_of_week": ["TU", "MO"]})
        job = ExpectedBackupJob.objects.get()
        assert response.url == job_page(job)
        assert (job.days_of_week, job.storage_folder, job.is_active) == ("MO,TU", "ACME/crm", True)
        assert [subject for subject, _after in audit_events("expectedbackupjob.added")] == ["backup:SRV-7/crm"]
        page = client.get(job_page(job))
        assert "Added</td>" in page_text(page)
        assert page.context["adminform"].form["days_of_week"].value() == ["MO", "TU"]

    def test_changed_fields_are_audited_by_name(self, admin_client, job):
        fields = self.FIELDS | {"agent_id": job.agent_id, "database_name": job.database_name, "keep_last": 9}
        assert admin_client.post(job_page(job), fields).url == job_page(job)
        job.refresh_from_db()
        assert job.keep_last == 9
        (subject, after), = audit_events("expectedbackupjob.changed")  # fmt: skip
        assert subject == f"backup:{job.agent_id}/{job.database_name}"
        assert after["keep_last"] == 9
        assert "days_of_week" not in after

    def test_saving_the_form_keeps_results_of_a_simultaneous_scan(self, admin_client, job, monkeypatch):
        def scan(form):
            ExpectedBackupJob.objects.update(current_status=Status.MISSING, keep_daily=3)

        monkeypatch.setattr("backups.admin.form.JobForm.clean", lambda form: scan(form) or form.cleaned_data)
        fields = self.FIELDS | {"agent_id": job.agent_id, "database_name": job.database_name, "keep_last": 9}
        admin_client.post(job_page(job), fields)
        job.refresh_from_db()
        assert (job.keep_last, job.current_status, job.keep_daily) == (9, Status.MISSING, 3)

    @pytest.mark.one_database("forms")
    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [("agent_deposit_path_template", "../x", "Enter a relative folder"),
         ("final_storage_path_template", "{password}", "Allowed placeholders"), ("agent_id", "a/b", "Enter a valid value"),
         ("time_of_day", "24:00", "valid time"), ("window_minutes", 5000, "must fit between"),
         ("days_of_week", ["MONDAY"], "not one of the available choices"), ("keep_last", 0, "greater than or equal to 1")],
    )  # fmt: skip
    def test_form_rejects_invalid_values_by_field(self, admin_client, field, value, words):
        assert words in str(self.errors(admin_client, **{field: value})[field])
        assert not ExpectedBackupJob.objects.exists()

    def test_form_rejects_the_storage_folder_of_another_job(self, admin_client, make_job):
        make_job("other", final_storage_path_template="ACME/crm")
        assert "stored in the same folder" in str(self.errors(admin_client)["final_storage_path_template"])

    def test_monitored_job_with_entries_cannot_be_deleted(self, admin_client, make_job):
        fresh, known = make_job("a"), make_job("b")
        set_status(known)
        assert admin_client.post(f"{LIST}{known.pk}/delete/", {"post": "yes"}).status_code == 403
        assert admin_client.post(f"{LIST}{fresh.pk}/delete/", {"post": "yes"}).status_code == 302
        assert admin_client.get(f"{LIST}{known.pk}/delete/").status_code == 403
        assert "delete_selected" not in page_text(admin_client.get(LIST))
        assert list(ExpectedBackupJob.objects.all()) == [known]

    def test_paused_job_is_deleted_with_its_entries_after_saying_which_files_stay(self, client, make_job, settings):
        job, other = make_job("a", is_active=False), make_job("b")
        stored = {"promoted": "acme/a/current_version/a.sql.gz", "archived": "old/a/versions/a_20250612.sql.gz"}
        make_entry(job, promotion="promoted", stored_path=stored["promoted"], server_size=3 * 1024**2)
        make_entry(job, ago=DAY, promotion="archived", stored_path=stored["archived"], server_size=1024**2)
        make_entry(job, ago=DAY + HOUR, promotion="archived", stored_path=stored["archived"], server_size=1024**2)
        make_entry(job, ago=2 * DAY, promotion="removed")
        kept = make_entry(other)
        log_in_with_role(client, "operator")
        address = f"{LIST}{job.pk}/delete/"
        assert address in page_text(client.get(job_page(job)))
        text = page_text(client.get(address)).replace("\xa0", " ")
        root = settings.VALIDATED_ROOT
        assert f"3 stored backups (5.0 MB) stay in {root}/acme/a, {root}/old/a:" in text
        assert "<li>Backups: 4</li>" in text
        client.post(address, {"post": "yes"})
        assert list(ExpectedBackupJob.objects.all()) == [other]
        assert list(BackupEntry.objects.all()) == [kept]
        assert len(audit_events("expectedbackupjob.deleted")) == 1

    def test_job_is_not_deleted_while_its_machine_is_scanned(self, client, make_job):
        job = make_job(is_active=False)
        area = DepositArea.objects.create(agent_id=job.agent_id)
        log_in_with_role(client, "operator")
        address = f"{LIST}{job.pk}/delete/"
        with orchestration.machine_lease(area, timedelta(0)):
            text = page_text(client.post(address, {"post": "yes"}, follow=True))
        assert f"{job.agent_id} is being scanned. Delete the database once the scan has finished." in text
        assert ExpectedBackupJob.objects.exists()
        client.post(address, {"post": "yes"})
        assert not ExpectedBackupJob.objects.exists()
        assert not orchestration.active_leases(timezone.now()).exists()

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_only_operators_delete_jobs(self, client, make_job, role):
        job = make_job(is_active=False)
        log_in_with_role(client, role)
        assert client.post(f"{LIST}{job.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_page_says_what_an_underscore_of_the_storage_folder_stands_for(self, admin_client, make_job):
        text = page_text(admin_client.get(job_page(make_job("crm", company_name="", city=""))))
        assert "<code>_/_/crm</code>" in text
        assert "_ marks empty fields: Company, City" in text
        text = page_text(admin_client.get(job_page(make_job("hr", company_name="ACME", city="Lyon"))))
        assert "_ marks empty fields" not in text

    def test_form_says_that_more_machines_are_enrolled_than_it_suggests(self, admin_client, make_agent, monkeypatch):
        monkeypatch.setattr(jobs, "MAX_SUGGESTED", 2)
        for count, is_cut in ((2, False), (3, True)):
            make_agent(f"PC-{count}"), make_agent(f"PC-{count}-b") if count == 2 else None
            text = page_text(admin_client.get(f"{LIST}add/"))
            assert ("Only the first 2 enrolled machines are suggested." in text) is is_cut
