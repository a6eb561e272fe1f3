"""What an operator may do about expected backups: scan, pause, hash again, download."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from backups.admin import actions
from backups.models import ExpectedBackupJob, Scan
from backups.reasons import reason
from backups.tests.entries import entry_of, stand
from backups.tests.pages import LIST, act, act_on_page, events, logged_in, page_of, said, text_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


class TestScanning:
    def test_each_chosen_machine_is_scanned_once(self, client, make_job):
        logged_in(client, "operator")
        jobs = [make_job("a", "SRV-1"), make_job("b", "SRV-1"), make_job("c", "SRV-2")]
        make_job("d", "SRV-3")
        response = act(client, "scan_now", *jobs)
        assert list(Scan.objects.order_by("agent_id").values_list("agent_id", "source")) == [
            ("SRV-1", "admin"), ("SRV-2", "admin"),
        ]  # fmt: skip
        assert OrmQ.objects.count() == 2
        assert said(response) == ["2 machines are being scanned."]
        assert sorted(subject for subject, _after in events("backups.scan_asked")) == [
            "backup:SRV-1/a", "backup:SRV-1/b", "backup:SRV-2/c",
        ]  # fmt: skip

    def test_a_whole_fleet_is_scanned_in_one_go(self, admin_client, make_job, monkeypatch):
        monkeypatch.setattr(actions, "MOST_SCANS", 1)
        response = act(admin_client, "scan_now", make_job("a", "SRV-1"), make_job("b", "SRV-2"))
        assert [scan.agent_id for scan in Scan.objects.all()] == [""]
        assert said(response) == ["All machines are being scanned."]

    def test_paused_ones_are_not(self, admin_client, make_job):
        response = act(admin_client, "scan_now", make_job(is_active=False))
        assert (said(response), Scan.objects.count()) == (["Paused databases are not scanned."], 0)

    def test_without_the_root_it_says_so(self, admin_client, job, settings):
        settings.DEPOSITS_ROOT.rmdir()
        response = admin_client.post(f"{LIST}{job.pk}/act/scan_now/", {"_selected_action": job.pk}, follow=True)
        assert said(response) == ["The deposit root is missing: nothing can be scanned."]
        assert OrmQ.objects.count() == 0


class TestPausing:
    def test_it_asks_for_how_long(self, client, make_job):
        logged_in(client, "operator")
        jobs = [make_job("a"), make_job("b")]
        text = text_of(act(client, "pause", *jobs))
        assert all(f'value="{job.pk}"' in text for job in jobs)
        assert 'type="datetime-local"' in text
        assert events("backups.paused") == []
        assert events("admin.action") == []

    @pytest.mark.parametrize(("length", "days"), [("day", 1), ("week", 7)])
    def test_for_some_days(self, admin_client, make_job, length, days):
        jobs = [make_job("a"), make_job("b")]
        response = act(admin_client, "pause", *jobs, confirmed="yes", length=length)
        for job in jobs:
            job.refresh_from_db()
            assert abs(job.paused_until - timezone.now() - days * DAY) < timedelta(minutes=1)
            assert job.is_active
        assert said(response)[0].startswith("2 databases are paused until ")
        assert [set(after) for _subject, after in events("backups.paused")] == [{"until"}] * 2

    def test_until_a_moment_of_the_operators_clock(self, admin_client, job):
        with timezone.override("Africa/Douala"):
            act_on_page(admin_client, "pause", job, confirmed="yes", length="until", until="2099-03-01T09:00")
        job.refresh_from_db()
        assert job.paused_until == datetime(2099, 3, 1, 8, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("until", "words"), [("", "Until when?"), ("2020-01-01T00:00", "past"), ("x", "valid date")]
    )
    def test_a_moment_that_is_none_is_asked_again(self, admin_client, job, until, words):
        response = act_on_page(admin_client, "pause", job, confirmed="yes", length="until", until=until)
        assert words in text_of(response)
        job.refresh_from_db()
        assert job.paused_until is None

    def test_for_good(self, admin_client, job):
        response = act(admin_client, "pause", job, confirmed="yes", length="good")
        job.refresh_from_db()
        assert (job.is_active, job.paused_until) == (False, None)
        assert said(response) == ["1 database is paused until it is resumed."]

    def test_too_many_at_once_are_refused(self, admin_client, make_job, monkeypatch):
        monkeypatch.setattr(actions, "MOST_AT_ONCE", 1)
        jobs = [make_job("a"), make_job("b")]
        response = act(admin_client, "pause", *jobs, confirmed="yes", length="good")
        assert said(response) == ["Choose at most 1 databases at once. Nothing was done."]
        assert ExpectedBackupJob.objects.filter(is_active=True).count() == 2

    def test_resuming_watches_again_and_forgets_what_was_expected_meanwhile(self, admin_client, make_job):
        now = timezone.now()
        off = make_job("a", is_active=False, watched_since=now - 9 * DAY)
        resting = make_job("b", paused_until=now + 9 * DAY, watched_since=now - 9 * DAY)
        running = make_job("c", watched_since=now - 9 * DAY)
        response = act(admin_client, "resume", off, resting, running)
        assert said(response) == ["2 databases are watched again."]
        for job in (off, resting):
            job.refresh_from_db()
            after = timezone.now()
            assert job.is_watched(after)
            assert job.counts_from(after) >= now
        running.refresh_from_db()
        assert running.counts_from(now) == now - 9 * DAY
        assert len(events("backups.resumed")) == 2


class TestTheCurrentVersion:
    @pytest.fixture
    def stored(self, job, settings):
        folder = settings.VALIDATED_ROOT / "ACME" / "_" / "compta_db" / "current_version"
        folder.mkdir(parents=True)
        (folder / "compta_db.sql.gz").write_bytes(b"dump" * 1000)
        stand(job)
        path = "ACME/_/compta_db/current_version/compta_db.sql.gz"
        entry_of(job, ago=DAY, promotion="promoted", server_sha256="d" * 64, stored_path=path)
        return job

    def test_it_is_downloaded_and_that_is_on_record(self, client, stored):
        response = act_on_page(logged_in(client, "operator"), "download", stored)
        assert b"".join(response.streaming_content) == b"dump" * 1000
        assert response["Content-Disposition"] == 'attachment; filename="compta_db.sql.gz"'
        assert response["Content-Length"] == "4000"
        assert "no-store" in response["Cache-Control"]
        assert response.streaming
        assert events("backups.downloaded") == [
            ("backup:SRV-DOUALA-01/compta_db", {"file": "compta_db.sql.gz", "sha256": "d" * 64})
        ]

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_others_do_not(self, client, stored, role):
        logged_in(client, role)
        assert act_on_page(client, "download", stored).status_code == 403
        act(client, "download", stored)
        assert events("backups.downloaded") == []

    def test_what_is_not_there_is_said(self, admin_client, job):
        stand(job)
        response = admin_client.post(f"{LIST}{job.pk}/act/download/", {"_selected_action": job.pk}, follow=True)
        assert said(response) == ["The current version is not there."]
        assert events("backups.downloaded") == []

    def test_from_the_list_one_at_a_time(self, admin_client, stored, make_job):
        assert said(act(admin_client, "download", stored, make_job("b"))) == [
            "Choose one database: each is a file of its own."
        ]

    def test_it_is_hashed_again_by_a_worker(self, client, stored, make_job):
        response = act(logged_in(client, "operator"), "reverify", stored, make_job("never stored"))
        assert said(response) == ["1 stored backup is being hashed again: its page will tell the result."]
        queued = OrmQ.objects.get()
        assert (queued.key, queued.task["args"]) == ("slow", ("backups.reverify", stored.pk))
        assert [subject for subject, _after in events("backups.reverify_asked")] == ["backup:SRV-DOUALA-01/compta_db"]

    def test_its_page_tells_what_that_found(self, admin_client, stored):
        assert "not since it was stored" in text_of(admin_client.get(page_of(stored)))
        stand(stored, reverified_at=timezone.now())
        assert '<span class="badge badge-good">intact</span>' in text_of(admin_client.get(page_of(stored)))
        stand(stored, reverified_at=timezone.now(), damage=reason("current_absent"))
        text = text_of(admin_client.get(page_of(stored)))
        assert '<span class="badge badge-bad">damaged</span>' in text
        assert "The current version is not there." in text
