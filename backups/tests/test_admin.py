"""Expected backups in the admin: the list that says which databases are protected, the page of each, and its form."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.admin import actions, display
from backups.admin.heading import duration
from backups.models import ExpectedBackupJob, Status
from backups.reasons import reason
from backups.tests.entries import HASH, entry_of, finished_scan, stand
from backups.tests.pages import LIST, act_on_page, events, listed, logged_in, page_of, text_of
from portal.models import AuditEvent
from portal.work.queue import enqueue

pytestmark = pytest.mark.django_db
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


class TestTheList:
    def test_it_says_how_each_database_stands_in_words_and_colour(self, admin_client, make_job):
        stand(make_job("a"))
        stand(make_job("b"), Status.MISSING)
        stand(make_job("c"), Status.HASH_MISMATCH)
        stand(make_job("d"), Status.HASH_MISMATCH, unchanged_policy="alert")
        stand(make_job("e"), Status.UNVERIFIED)
        stand(make_job("f"), Status.SUCCESS, is_active=False)
        make_job("g")
        text = text_of(admin_client.get(LIST))
        for tone, word in (
            ("good", "verified"), ("bad", "missing"), ("good", "unchanged"), ("bad", "unchanged"),
            ("warning", "not verifiable any more"), ("quiet", "paused"), ("quiet", "pending"), ("warning", "none yet"),
        ):  # fmt: skip
            assert f'<span class="badge badge-{tone}">{word}</span>' in text
        assert text.count('badge-good">verified') == 1

    def test_beside_it_stands_what_the_latest_backup_lacks(self, admin_client, make_job):
        job = make_job("a")
        entry_of(job, ago=2 * DAY, warnings=["empty"])
        assert "1 warning<" in text_of(admin_client.get(LIST))
        entry_of(job, late=True)
        text = text_of(admin_client.get(LIST))
        assert "late</span>" in text
        assert "1 warning<" not in text
        stand(make_job("b"), damage=reason("current_differs"))
        assert "stored backup damaged" in text_of(admin_client.get(LIST))

    def test_the_size_is_that_of_the_last_good_dump(self, admin_client, job):
        entry_of(job, ago=2 * DAY, server_size=9 * 1024**3)
        entry_of(job, Status.TRANSFER_INTEGRITY_FAILED, server_size=12)
        assert ">9.0\xa0GB</span>" in text_of(admin_client.get(LIST))

    @pytest.mark.parametrize(
        ("query", "found"),
        [({"attention": "yes"}, {"failing", "damaged"}), ({"attention": "no"}, {"safe"}),
         ({"attention": "waiting"}, {"stale", "new"}), ({"attention": "paused"}, {"off", "resting"}),
         ({"status": "MISSING"}, {"failing", "off"}), ({"paused": "off"}, {"off"}), ({"paused": "while"}, {"resting"}),
         ({"frequency": "weekly"}, {"resting"}), ({"stale": "days"}, {"stale", "failing", "off"}),
         ({"stale": "week"}, {"failing", "off"}), ({"q": "SRV-9"}, {"safe"}), ({"q": "sta"}, {"stale"}), ({"q": "ACME"}, {"new"}),
         ({"q": "Zeta"}, set())],
    )  # fmt: skip
    def test_it_can_be_narrowed_down(self, admin_client, make_job, query, found):
        now = timezone.now()
        common = {"company_name": "Beta"}
        stand(make_job("safe", "SRV-9", **common))
        stand(make_job("stale", **common), ago=3 * DAY)
        stand(make_job("failing", **common), Status.MISSING)
        stand(make_job("damaged", **common), damage=reason("current_absent"))
        stand(make_job("off", **common), Status.MISSING, is_active=False)
        stand(make_job("resting", **common), paused_until=now + DAY, expected_frequency="weekly")
        make_job("new", created_at=now)
        assert listed(admin_client, **query) == found

    def test_it_costs_the_same_however_many_there_are(self, admin_client, make_job):
        def queries():
            cache.clear()
            with CaptureQueriesContext(connection) as captured:
                assert admin_client.get(LIST).status_code == 200
            return len(captured)

        stand(make_job("first"))
        few = queries()
        for number in range(30):
            job = make_job(f"db{number}")
            stand(job, Status.MISSING)
            entry_of(job, ago=2 * DAY)
        # Session, user; count, rows; newest entries in two; totals, and two for the scans.
        assert (few, queries()) == (9, 9)


class TestTheHeading:
    def test_it_says_how_many_are_safe_and_leads_to_the_others(self, admin_client, make_job):
        stand(make_job("a"))
        stand(make_job("b"), Status.FAILED)
        text = text_of(admin_client.get(LIST))
        assert "<strong>1 of 2</strong>" in text
        assert '<a href="?attention=yes">1 failing</a>' in text

    def test_it_says_what_the_last_scan_saw(self, admin_client):
        finished_scan(agents=7, jobs=1234, recorded=21, pending=3, failures=2, errors=1, bytes_hashed=3 * 1024**3)
        facts = {fact.name: (str(fact.value), fact.is_bad) for fact in admin_client.get(LIST).context["heading"].facts}
        assert "4\xa0minutes ago" in facts.pop("Last scan")[0]
        assert facts == {
            "It took": ("12 s", False), "Machines looked at": ("7", False), "Expected backups": ("1,234", False),
            "Recorded": ("21", False), "Pending": ("3", False), "Failures": ("2", True), "Hashed": ("3.0\xa0GB", False),
            "Errors": ("1", True),
        }  # fmt: skip

    def test_it_says_that_one_is_running(self, admin_client):
        scan = finished_scan(finished_at=None, agent_id="SRV-1")
        enqueue("backups.scan_agent", "SRV-1", scan.pk, cluster="slow")
        text = text_of(admin_client.get(LIST))
        assert "of SRV-1</span>" in text
        assert ">never</dd>" in text

    def test_a_missing_root_raises_the_alarm(self, admin_client):
        assert "deposit root is missing" not in text_of(admin_client.get(LIST))
        finished_scan(root_is_missing=True)
        text = text_of(admin_client.get(LIST))
        assert "deposit root is missing" in text
        assert "It took" not in text

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.42, "0.4 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
    )
    def test_a_duration_is_readable(self, seconds, text):
        assert duration(seconds) == text


class TestMoments:
    AT = datetime(2026, 1, 10, 23, 30, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("zone", "text"),
        [("UTC", "2026-01-10 23:30 UTC"), ("Africa/Abidjan", "2026-01-10 23:30 UTC"),
         ("America/Lima", '2026-01-10 23:30 UTC<span class="beneath">18:30 -05</span>'),
         ("Africa/Douala", '2026-01-10 23:30 UTC<span class="beneath">2026-01-11 00:30 WAT</span>')],
    )  # fmt: skip
    def test_a_moment_is_told_in_both_zones_and_once_where_they_are_the_same(self, zone, text):
        with timezone.override(zone):
            assert display.in_both_zones(self.AT) == text

    def test_an_unchanged_backup_says_since_when(self, job):
        stand(job, last_success_at=datetime(2026, 1, 10, 3, tzinfo=UTC))
        assert "unchanged since 2026-01-10" in display.last_good(job)
        stand(job)
        assert "unchanged" not in display.last_good(job)

    def test_a_paused_one_is_expected_at_no_moment(self, make_job):
        assert display.next_expected(make_job(is_active=False), timezone.now()) == "–"


class TestThePageOfADatabase:
    def test_it_shows_what_is_known_of_it(self, admin_client, job):
        stand(job, reverified_at=timezone.now() - HOUR, damage=reason("current_differs"))
        entry_of(
            job, Status.TRANSFER_INTEGRITY_FAILED, timedelta(minutes=1), agent_size=2_000_000, server_size=1_999_999,
            agent_sha256="b" * 64, server_sha256="c" * 64, late=True, warnings=["shrunk"],
            reasons=[reason("hash_differs")],
        )  # fmt: skip
        AuditEvent.objects.create(
            action="backups.paused",
            subject=f"backup:{job}".replace(" ", "/"),
            at=timezone.now(),
            last_at=timezone.now(),
        )
        text = text_of(admin_client.get(page_of(job)))
        for part in (
            "damaged in transfer", "The SHA-256 of the staged file is not the one the machine says.", "late</span>",
            "It is much smaller than the last ones.", "≠ 2,000,000 bytes", "≠ 1,999,999 bytes", "bbbbbbbbbb", "cccccccccc",
            "no longer the one that was verified", "ACME/_/compta_db", "Paused</td>", HASH,
        ):  # fmt: skip
            assert part in text

    def test_the_same_on_both_sides_is_not_marked(self, admin_client, job):
        stand(job)
        assert "≠" not in text_of(admin_client.get(page_of(job)))

    def test_it_draws_the_sizes_of_the_last_thirty_successes(self, admin_client, job):
        for number in range(35):
            entry_of(job, ago=number * DAY, server_size=(50 - number) * 1024**2)
        entry_of(job, Status.HASH_MISMATCH, server_size=1)
        chart = admin_client.get(page_of(job)).context["chart"]
        assert (chart.values[-1], chart.values[0], len(chart.values), chart.unit) == (50, 21, 30, "size in MB")

    def test_one_size_alone_is_no_chart(self, admin_client, job):
        entry_of(job)
        response = admin_client.get(page_of(job))
        assert response.context["chart"] is None
        assert "<canvas" not in text_of(response)

    def test_entries_and_versions_are_bounded(self, admin_client, job):
        for number in range(25):
            entry_of(
                job, ago=number * DAY, promotion="archived" if number else "promoted", stored_path=f"ACME/{number}.gz"
            )
        entries, versions, _history = admin_client.get(page_of(job)).context["sections"]
        assert (len(entries.rows), entries.note) == (20, "Older ones are not shown.")
        assert len(versions.rows) == 25
        assert ["ACME/0.gz" in row[2] for row in versions.rows[:2]] == [True, False]
        assert {entry.job_id for entry in admin_client.get(entries.url).context["cl"].queryset} == {job.pk}

    def test_it_costs_the_same_however_much_is_known(self, admin_client, job):
        def queries():
            with CaptureQueriesContext(connection) as captured:
                admin_client.get(page_of(job))
            return len(captured)

        entry_of(job)
        few = queries()
        for number in range(1, 40):
            entry_of(job, ago=number * DAY, promotion="archived")
        assert queries() == few <= 10

    def test_a_viewer_sees_it_all_and_changes_nothing(self, client, job):
        stand(job)
        logged_in(client, "viewer")
        text = text_of(client.get(page_of(job)))
        assert "What became of its backups" in text
        assert 'name="agent_id"' not in text
        for action in (*actions.JobActions.object_actions, "export_chosen"):
            assert f"/act/{action}/" not in text
            assert act_on_page(client, action, job).status_code == 403
        assert client.post(page_of(job), {}).status_code == 403
        assert client.get(f"{LIST}export/").status_code == 403
        assert client.get(f"{LIST}export/xlsx/").status_code == 403
        assert client.get(f"{LIST}add/").status_code == 403

    def test_staff_export_and_do_nothing_else(self, client, job):
        stand(job)
        logged_in(client, "staff")
        assert client.get(f"{LIST}export/").status_code == 200
        for action in actions.JobActions.object_actions:
            assert act_on_page(client, action, job).status_code == 403

    @pytest.mark.one_database("buttons of each state")
    def test_an_operator_is_offered_what_makes_sense(self, client, make_job, make_agent):
        logged_in(client, "operator")
        watched, fresh, paused = make_job("a"), make_job("b"), make_job("c", is_active=False)
        enrolled = make_job("d", agent_id="PC-1")
        make_agent("pc-1")
        stand(watched)
        offered = {
            job.database_name: [
                action for action in actions.JobActions.object_actions
                if f"/act/{action}/" in text_of(client.get(page_of(job)))
            ]
            for job in (watched, fresh, paused, enrolled)
        }  # fmt: skip
        assert offered == {
            "a": ["scan_now", "download", "reverify", "pause", "issue_enrolment_token"],
            "b": ["scan_now", "pause", "issue_enrolment_token"],
            "c": ["resume", "issue_enrolment_token"],
            "d": ["scan_now", "pause"],
        }


class TestTheForm:
    FIELDS = {
        "agent_id": "SRV-7", "database_name": "crm", "company_name": "ACME", "expected_frequency": "daily",
        "expected_hour_utc": 1, "expected_minute_utc": 30, "window_minutes": 30, "early_minutes": 10,
        "agent_deposit_path_template": "{agent_id}/database", "agent_log_deposit_path_template": "{agent_id}/log",
        "final_storage_path_template": "{company_name}/{database_name}", "min_size_bytes": 0, "max_shrink_percent": 50,
        "unchanged_policy": "inform", "keep_last": 7, "keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12,
        "is_active": "on", "deep_check": "on",
    }  # fmt: skip

    def errors(self, client, **fields):
        return client.post(f"{LIST}add/", self.FIELDS | fields).context["adminform"].form.errors

    def test_an_operator_adds_one_and_it_is_on_record(self, client):
        logged_in(client, "operator")
        response = client.post(f"{LIST}add/", self.FIELDS | {"days_of_week": ["TU", "MO"]})
        job = ExpectedBackupJob.objects.get()
        assert response.url == page_of(job)
        assert (job.days_of_week, job.storage_folder, job.is_active) == ("MO,TU", "ACME/crm", True)
        assert [subject for subject, _after in events("expectedbackupjob.added")] == ["backup:SRV-7/crm"]
        page = client.get(page_of(job))
        assert "Added</td>" in text_of(page)
        assert page.context["adminform"].form["days_of_week"].value() == ["MO", "TU"]

    def test_what_is_changed_is_on_record_by_name(self, admin_client, job):
        fields = self.FIELDS | {"agent_id": job.agent_id, "database_name": job.database_name, "keep_last": 9}
        assert admin_client.post(page_of(job), fields).url == page_of(job)
        job.refresh_from_db()
        assert job.keep_last == 9
        (subject, after), = events("expectedbackupjob.changed")  # fmt: skip
        assert subject == f"backup:{job.agent_id}/{job.database_name}"
        assert "Keep the last" in after[0]["changed"]["fields"]
        assert "Days of the week" not in after[0]["changed"]["fields"]

    def test_what_a_scan_finds_out_meanwhile_stays(self, admin_client, job, monkeypatch):
        def scan(form):
            ExpectedBackupJob.objects.update(current_status=Status.MISSING, keep_daily=3)

        monkeypatch.setattr("backups.admin.form.JobForm.clean", lambda form: scan(form) or form.cleaned_data)
        fields = self.FIELDS | {"agent_id": job.agent_id, "database_name": job.database_name, "keep_last": 9}
        admin_client.post(page_of(job), fields)
        job.refresh_from_db()
        assert (job.keep_last, job.current_status, job.keep_daily) == (9, Status.MISSING, 3)

    @pytest.mark.one_database("forms")
    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [("agent_deposit_path_template", "../x", "A folder below the root"),
         ("final_storage_path_template", "{password}", "In braces may stand"), ("agent_id", "a/b", "Enter a valid value"),
         ("expected_hour_utc", 24, "less than or equal to 23"), ("window_minutes", 5000, "must fit between"),
         ("days_of_week", ["MONDAY"], "not one of the available choices"), ("keep_last", 0, "greater than or equal to 1")],
    )  # fmt: skip
    def test_it_refuses_what_is_not_well_defined(self, admin_client, field, value, words):
        assert words in str(self.errors(admin_client, **{field: value})[field])
        assert not ExpectedBackupJob.objects.exists()

    def test_two_databases_never_share_a_folder(self, admin_client, make_job):
        make_job("other", final_storage_path_template="ACME/crm")
        assert "stored in the same folder" in str(self.errors(admin_client)["final_storage_path_template"])

    def test_what_has_a_past_is_not_deleted(self, admin_client, make_job):
        fresh, known = make_job("a"), make_job("b")
        stand(known)
        assert admin_client.post(f"{LIST}{known.pk}/delete/", {"post": "yes"}).status_code == 403
        assert admin_client.post(f"{LIST}{fresh.pk}/delete/", {"post": "yes"}).status_code == 302
        assert admin_client.get(f"{LIST}{known.pk}/delete/").status_code == 403
        assert "delete_selected" not in text_of(admin_client.get(LIST))
        assert list(ExpectedBackupJob.objects.all()) == [known]
