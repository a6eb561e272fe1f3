"""Admin actions on expected backups: scan, pause, resume, hash again, download."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from backups.admin import actions
from backups.models import Scan
from backups.reasons import make_reason
from backups.tests.admin_pages import LIST, job_page, post_action, post_action_on_page
from backups.tests.factories import make_entry, set_status
from portal.tests.helpers.admin_pages import audit_events, log_in_with_role, messages_of, page_text

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


class TestScanning:
    def test_scan_is_queued_once_per_selected_machine(self, client, make_job):
        log_in_with_role(client, "operator")
        jobs = [make_job("a", "SRV-1"), make_job("b", "SRV-1"), make_job("c", "SRV-2")]
        make_job("d", "SRV-3")
        response = post_action(client, "scan_now", *jobs)
        assert list(Scan.objects.order_by("agent_id").values_list("agent_id", "source")) == [
            ("SRV-1", "admin"), ("SRV-2", "admin"),
        ]  # fmt: skip
        assert OrmQ.objects.count() == 2
        assert messages_of(response) == ["Scan of 2 machines started…"]
        assert sorted(subject for subject, _after in audit_events("backups.scan_asked")) == [
            "backup:SRV-1/a", "backup:SRV-1/b", "backup:SRV-2/c",
        ]  # fmt: skip

    def test_selection_of_many_machines_queues_one_full_scan(self, admin_client, make_job, monkeypatch):
        monkeypatch.setattr(actions, "MAX_SCANS", 1)
        response = post_action(admin_client, "scan_now", make_job("a", "SRV-1"), make_job("b", "SRV-2"))
        assert [scan.agent_id for scan in Scan.objects.all()] == [""]
        assert messages_of(response) == ["Scan of all machines started…"]

    def test_paused_jobs_are_not_scanned(self, admin_client, make_job):
        response = post_action(admin_client, "scan_now", make_job(is_active=False))
        assert (messages_of(response), Scan.objects.count()) == (["Paused databases aren’t scanned."], 0)

    def test_scan_without_the_root_shows_an_error(self, admin_client, job, settings):
        settings.DEPOSITS_ROOT.rmdir()
        response = admin_client.post(f"{LIST}{job.pk}/act/scan_now/", {"_selected_action": job.pk}, follow=True)
        assert messages_of(response) == ["The upload area is unavailable: nothing can be scanned."]
        assert OrmQ.objects.count() == 0


class TestPausing:
    def test_pause_asks_for_its_length(self, client, make_job):
        log_in_with_role(client, "operator")
        jobs = [make_job("a"), make_job("b")]
        set_status(jobs[0])
        text = page_text(post_action(client, "pause", *jobs))
        assert "Monitoring of 2 databases stops (1 protected now)." in text
        assert all(f'value="{job.pk}"' in text for job in jobs)
        assert 'type="datetime-local"' in text
        assert audit_events("backups.paused") == []
        assert audit_events("admin.action") == []

    @pytest.mark.parametrize(("length", "days"), [("day", 1), ("week", 7)])
    def test_pause_for_days_ends_then(self, admin_client, make_job, length, days):
        jobs = [make_job("a"), make_job("b")]
        response = post_action(admin_client, "pause", *jobs, confirmed="yes", length=length)
        for job in jobs:
            job.refresh_from_db()
            assert abs(job.paused_until - timezone.now() - days * DAY) < timedelta(minutes=1)
            assert job.is_active
        assert messages_of(response)[0].startswith("2 databases paused until ")
        assert [set(after) for _subject, after in audit_events("backups.paused")] == [{"until"}] * 2

    def test_pause_ends_at_a_moment_in_local_time(self, admin_client, job):
        with timezone.override("Africa/Douala"):
            post_action_on_page(admin_client, "pause", job, confirmed="yes", length="until", until="2099-03-01T09:00")
        job.refresh_from_db()
        assert job.paused_until == datetime(2099, 3, 1, 8, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("until", "words"), [("", "Until when?"), ("2020-01-01T00:00", "This time has passed."), ("x", "valid date")]
    )
    def test_pause_with_an_invalid_moment_shows_the_form_again(self, admin_client, job, until, words):
        response = post_action_on_page(admin_client, "pause", job, confirmed="yes", length="until", until=until)
        assert words in page_text(response)
        job.refresh_from_db()
        assert job.paused_until is None

    def test_pause_for_good_switches_the_job_off(self, admin_client, job):
        response = post_action(admin_client, "pause", job, confirmed="yes", length="good")
        job.refresh_from_db()
        assert (job.is_active, job.paused_until) == (False, None)
        assert messages_of(response) == ["1 database paused until resumed."]

    def test_selection_of_too_many_jobs_is_refused(self, admin_client, make_job, monkeypatch):
        monkeypatch.setattr(actions, "MAX_AT_ONCE", 1)
        jobs = [make_job("a"), make_job("b")]
        for job in jobs:
            set_status(job)
        response = post_action(admin_client, "reverify", *jobs)
        assert messages_of(response)[0] == "Choose at most 1 databases at once. Nothing was done."
        assert OrmQ.objects.count() == 0

    def test_resumed_job_ignores_the_cycles_of_its_pause(self, admin_client, make_job):
        now = timezone.now()
        off = make_job("a", is_active=False, watched_since=now - 9 * DAY)
        resting = make_job("b", paused_until=now + 9 * DAY, watched_since=now - 9 * DAY)
        running = make_job("c", watched_since=now - 9 * DAY)
        response = post_action(admin_client, "resume", off, resting, running)
        assert messages_of(response) == ["2 databases resumed."]
        for job in (off, resting):
            job.refresh_from_db()
            after = timezone.now()
            assert job.is_watched(after)
            assert job.counts_from(after) >= now
        running.refresh_from_db()
        assert running.counts_from(now) == now - 9 * DAY
        assert len(audit_events("backups.resumed")) == 2


class TestTheCurrentVersion:
    @pytest.fixture
    def stored(self, job, settings):
        folder = settings.VALIDATED_ROOT / "ACME" / "_" / "compta_db" / "current_version"
        folder.mkdir(parents=True)
        (folder / "compta_db.sql.gz").write_bytes(b"dump" * 1000)
        set_status(job)
        path = "ACME/_/compta_db/current_version/compta_db.sql.gz"
        make_entry(job, ago=DAY, promotion="promoted", server_sha256="d" * 64, stored_path=path)
        return job

    def test_download_sends_the_current_version_and_is_audited(self, client, stored):
        response = post_action_on_page(log_in_with_role(client, "operator"), "download", stored)
        assert b"".join(response.streaming_content) == b"dump" * 1000
        assert response["Content-Disposition"] == 'attachment; filename="compta_db.sql.gz"'
        assert response["Content-Length"] == "4000"
        assert "no-store" in response["Cache-Control"]
        assert response.streaming
        assert audit_events("backups.downloaded") == [
            ("backup:SRV-DOUALA-01/compta_db", {"file": "compta_db.sql.gz", "sha256": "d" * 64})
        ]

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_download_needs_its_permission(self, client, stored, role):
        log_in_with_role(client, role)
        assert post_action_on_page(client, "download", stored).status_code == 403
        post_action(client, "download", stored)
        assert audit_events("backups.downloaded") == []

    def test_download_of_a_missing_version_shows_an_error(self, admin_client, job):
        set_status(job)
        response = admin_client.post(f"{LIST}{job.pk}/act/download/", {"_selected_action": job.pk}, follow=True)
        assert messages_of(response) == ["The current version is missing."]
        assert audit_events("backups.downloaded") == []

    def test_download_of_two_jobs_is_refused(self, admin_client, stored, make_job):
        assert messages_of(post_action(admin_client, "download", stored, make_job("b"))) == [
            "Choose one database: each downloads as its own file."
        ]

    def test_reverify_queues_a_task_and_is_audited(self, client, stored, make_job):
        response = post_action(log_in_with_role(client, "operator"), "reverify", stored, make_job("never stored"))
        assert messages_of(response) == ["Re-verification of 1 stored backup started. Its page will show the result."]
        queued = OrmQ.objects.get()
        assert (queued.key, queued.task["args"]) == ("slow", ("backups.reverify", stored.pk))
        assert [subject for subject, _after in audit_events("backups.reverify_asked")] == [
            "backup:SRV-DOUALA-01/compta_db"
        ]

    def test_page_shows_the_result_of_reverify(self, admin_client, stored):
        assert "not since it was stored" in page_text(admin_client.get(job_page(stored)))
        set_status(stored, reverified_at=timezone.now())
        assert '<span class="badge badge-good">intact</span>' in page_text(admin_client.get(job_page(stored)))
        set_status(stored, reverified_at=timezone.now(), damage=make_reason("current_absent"))
        text = page_text(admin_client.get(job_page(stored)))
        assert '<span class="badge badge-bad">corrupted</span>' in text
        assert "The current version is missing." in text
