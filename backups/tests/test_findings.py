"""Health findings of backups."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from backups import findings
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob, Status
from backups.reasons import make_reason
from backups.scanner.orchestration import LEASE_NAME, lease_key
from backups.scanner.scan import note_first_seen
from backups.tests.factories import make_entry, make_finished_scan, set_status
from portal.base.findings import Severity
from portal.desk.findings import current_findings
from portal.tests.helpers.queries import count_queries
from portal.work.jobs import claim_cycle

pytestmark = pytest.mark.django_db
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
Promotion = BackupEntry.Promotion


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


def found(source):
    return list(source(timezone.now()))


def page_of(job):
    return f"/admin/backups/expectedbackupjob/{job.pk}/change/"


class TestFailingDatabases:
    def test_failing_database_has_status_reason_age_and_link(self, make_job):
        job = make_job("paie", "SRV-1")
        set_status(job, Status.MISSING, 2 * HOUR, last_verified_at=timezone.now() - 3 * DAY)
        finding = found(findings.failing_databases)[0]
        assert finding.text == (
            "paie on SRV-1: missing. No report arrived by the deadline. Last verified backup: 3\xa0days ago."
        )
        assert (finding.severity, finding.since, finding.url) == (Severity.CRITICAL, job_since(job), page_of(job))
        assert finding.key == f"backups.job:{job.pk}"

    def test_failing_database_without_good_backup_says_so(self, job):
        set_status(job, Status.FAILED)
        assert found(findings.failing_databases)[0].text.endswith("No verified backup yet.")

    def test_five_worst_databases_are_listed_and_the_rest_counted(self, make_job):
        for number in range(8):
            good = timezone.now() - number * DAY
            set_status(
                make_job(f"db{number}"), Status.MISSING, (number + 1) * HOUR, last_verified_at=good if number else None
            )
        told = found(findings.failing_databases)
        assert [finding.text.split()[0] for finding in told[:5]] == ["db0", "db7", "db6", "db5", "db4"]
        assert told[5].text.startswith("3 more databases")
        assert (told[5].since, told[5].url) == (
            ExpectedBackupJob.objects.get(database_name="db3").status_since,
            "/admin/backups/expectedbackupjob/?attention=yes",
        )

    def test_linked_list_contains_all_failing_databases(self, admin_client, make_job):
        for number in range(7):
            set_status(make_job(f"db{number}"), Status.FAILED)
        rest = found(findings.failing_databases)[5]
        assert len(admin_client.get(rest.url).context["cl"].queryset) == 7

    @pytest.mark.parametrize(
        ("status", "fields"),
        [(Status.SUCCESS, {}), (Status.UNCHANGED, {}), (Status.UNVERIFIED, {}), (Status.PENDING, {}),
         (Status.MISSING, {"is_active": False}), (Status.MISSING, {"paused_until": timezone.now() + 300 * DAY})],
    )  # fmt: skip
    def test_other_databases_are_no_finding(self, job, status, fields):
        set_status(job, status, **fields)
        assert found(findings.failing_databases) == []

    def test_findings_take_as_many_queries_for_many_failures_as_for_few(self, make_job):
        for number in range(6):
            set_status(make_job(f"db{number}"), Status.MISSING)
        few = count_queries(lambda: found(findings.failing_databases))
        for number in range(6, 12):
            set_status(make_job(f"db{number}"), Status.MISSING)
        assert count_queries(lambda: found(findings.failing_databases)) == few


def test_database_that_is_overdue_again_after_a_pause_is_dated_by_its_end(make_job):
    resumed = timezone.now() - HOUR
    job = make_job("crm")
    set_status(job, last_verified_at=resumed - 30 * DAY, paused_until=resumed, watched_since=resumed - 60 * DAY)
    assert [finding.since for finding in found(findings.overdue_databases)] == [resumed]


def job_since(job):
    return ExpectedBackupJob.objects.get(pk=job.pk).status_since


class TestWhatIsStored:
    def test_damaged_current_version_is_critical(self, make_job):
        at = timezone.now() - HOUR
        job = make_job("paie", "SRV-1")
        set_status(job, damage=make_reason("current_differs"), damaged_since=at)
        finding = found(findings.damaged_versions)[0]
        assert "paie on SRV-1" in finding.text
        assert "no longer the verified one" in finding.text
        assert (finding.severity, finding.since, finding.url) == (Severity.CRITICAL, at, page_of(job))

    @pytest.mark.parametrize(
        ("promotion", "why", "severity", "words"),
        [
            (Promotion.FAILED, make_reason("storage_full"), Severity.CRITICAL, "could not be stored. No space left"),
            (Promotion.LOST, make_reason("staged_gone"), Severity.CRITICAL, "lost before it was stored"),
            (Promotion.WAITING, None, Severity.WARNING, "not stored yet."),
        ],
    )
    def test_unstored_dump_is_reported_by_promotion(self, job, promotion, why, severity, words):
        make_entry(job, ago=2 * HOUR, promotion=promotion, promotion_reason=why)
        finding = found(findings.unstored_backups)[0]
        assert (finding.severity, finding.url) == (severity, page_of(job))
        assert words in finding.text

    def test_dump_that_waits_for_minutes_is_no_finding(self, job):
        make_entry(job, ago=50 * MINUTE, promotion=Promotion.WAITING)
        assert found(findings.unstored_backups) == []

    def test_later_stored_dump_ends_the_finding(self, job):
        make_entry(job, ago=2 * DAY, promotion=Promotion.LOST)
        make_entry(job, ago=DAY, promotion=Promotion.NONE)
        assert len(found(findings.unstored_backups)) == 1
        make_entry(job, ago=2 * HOUR, promotion=Promotion.PROMOTED)
        assert found(findings.unstored_backups) == []


def doubt(job, *codes, ago=HOUR):
    entry = set_status(job, ago=ago, in_doubt=True)
    entry.warnings = list(codes)
    entry.save()


class TestDoubts:
    @pytest.mark.parametrize("ago", [HOUR, 20 * DAY])
    def test_truncated_dump_is_a_finding_until_a_better_one_arrives(self, job, ago):
        doubt(job, "early", "truncated_gzip", ago=ago)
        finding = found(findings.doubtful_backups)[0]
        assert "suspicious. The gzip file is truncated" in finding.text
        assert "before its scheduled time" not in finding.text
        assert (finding.severity, finding.url) == (Severity.WARNING, page_of(job))
        set_status(job, ago=ago - HOUR / 2, in_doubt=False)
        assert found(findings.doubtful_backups) == []

    def test_early_dump_is_no_finding(self, job):
        make_entry(job, warnings=["early"])
        assert found(findings.doubtful_backups) == []

    def test_doubtful_backups_beyond_five_are_counted(self, admin_client, make_job):
        for number in range(7):
            doubt(make_job(f"db{number}"), "too_small")
        rest = found(findings.doubtful_backups)[5]
        assert rest.text.startswith("The last backups of 2 more")
        assert len(admin_client.get(rest.url).context["cl"].queryset) == 7


class TestPauses:
    def test_pause_of_more_than_30_days_is_a_finding(self, make_job):
        make_job("a", is_active=False, watched_since=timezone.now() - 31 * DAY)
        make_job("b", is_active=False, watched_since=timezone.now() - 29 * DAY)
        make_job("c", watched_since=timezone.now() - 90 * DAY)
        finding = found(findings.forgotten_pauses)[0]
        assert finding.text.startswith("1 database ")
        assert (finding.severity, finding.url) == (Severity.INFO, "/admin/backups/expectedbackupjob/?paused=off")

    def test_pause_counts_from_switching_the_job_off(self, job):
        job.is_active = False
        job.save()
        assert found(findings.forgotten_pauses) == []


class TestScans:
    def test_missing_root_is_dated_from_the_first_scan_of_its_streak(self):
        make_finished_scan(ago=60 * MINUTE)
        make_finished_scan(ago=50 * MINUTE, root_is_missing=True)
        make_finished_scan(ago=40 * MINUTE)
        first = make_finished_scan(ago=30 * MINUTE, root_is_missing=True)
        make_finished_scan(ago=15 * MINUTE, root_is_missing=True)
        finding = found(findings.missing_root)[0]
        assert (finding.severity, finding.since) == (Severity.CRITICAL, first.started_at)

    def test_root_that_is_back_is_no_finding(self):
        make_finished_scan(ago=30 * MINUTE, root_is_missing=True)
        make_finished_scan(ago=15 * MINUTE)
        assert found(findings.missing_root) == []

    @pytest.mark.parametrize(("minutes", "told"), [(44, 0), (46, 1)])
    def test_silent_scanner_is_a_finding(self, job, minutes, told):
        scan = make_finished_scan(ago=minutes * MINUTE, finished_at=timezone.now() - minutes * MINUTE)
        make_finished_scan(ago=MINUTE, finished_at=None)
        make_finished_scan(ago=MINUTE, agent_id="SRV-1")
        assert [finding.since for finding in found(findings.silent_scanner)] == [scan.finished_at] * told

    def test_new_job_gives_the_scanner_time(self, job):
        ExpectedBackupJob.objects.update(created_at=timezone.now() - 10 * MINUTE)
        assert found(findings.silent_scanner) == []
        ExpectedBackupJob.objects.update(created_at=timezone.now() - HOUR)
        assert len(found(findings.silent_scanner)) == 1

    def test_silent_scanner_without_jobs_is_no_finding(self, make_job):
        make_job(is_active=False)
        assert found(findings.silent_scanner) == []

    @pytest.mark.parametrize(("minutes", "is_at_work", "told"), [(21, False, 1), (19, False, 0), (21, True, 0)])
    def test_unscanned_machine_is_a_finding(self, minutes, is_at_work, told):
        asked = timezone.now() - minutes * MINUTE
        area = DepositArea.objects.create(agent_id="SRV-1", queued_at=asked)
        if is_at_work:
            claim_cycle(LEASE_NAME, lease_key(area))
        assert [(one.key, one.since) for one in found(findings.unscanned_machines)] == [("backups.queue", asked)] * told


class TestDepositAreas:
    def test_unreadable_deposit_area_is_a_finding(self):
        at = timezone.now() - HOUR
        DepositArea.objects.create(
            agent_id="SRV-1", trouble=make_reason("folder_absent", folder="SRV-1/log"), troubled_since=at
        )
        DepositArea.objects.create(agent_id="SRV-2")
        assert [(finding.text, finding.since, finding.url) for finding in found(findings.troubled_areas)] == [
            ("Can’t read uploads from SRV-1: folder “SRV-1/log” doesn’t exist.", at,
             "/admin/backups/expectedbackupjob/?q=SRV-1"),
        ]  # fmt: skip

    def test_deposit_areas_beyond_five_are_counted(self):
        for number in range(7):
            DepositArea.objects.create(agent_id=f"SRV-{number}", trouble=make_reason("scan_failed"))
        told = found(findings.troubled_areas)
        assert (len(told), told[5].text) == (6, "Can’t read uploads from 2 more machines.")

    def test_another_variant_renews_the_finding_about_reports(self):
        area, now = DepositArea(agent_id="SRV-1", spellings=["text_sizes"]), timezone.now()
        note_first_seen(area, now - HOUR)
        area.spellings = ["text_sizes", "local_times"]
        note_first_seen(area, now)
        area.save()
        (finding,) = found(findings.report_spellings)
        assert (finding.since, finding.renewed_at) == (now - HOUR, now)

    def test_unexpected_database_links_to_the_filled_in_form(self, admin_client, make_job):
        make_job("known", "SRV-1")
        now = timezone.now()
        area = DepositArea(agent_id="SRV-1", unexpected=["known", "crm & co"])
        note_first_seen(area, now)
        area.save()
        DepositArea.objects.create(agent_id="SRV-2", unexpected=[])
        finding = found(findings.unexpected_databases)[0]
        assert (finding.key, finding.since) == ("backups.unknown:SRV-1/crm & co", now)
        assert (finding.severity, len(found(findings.unexpected_databases))) == (Severity.INFO, 1)
        form = admin_client.get(finding.url).context["adminform"].form
        assert (form["agent_id"].value(), form["database_name"].value()) == ("SRV-1", "crm & co")


def test_healthy_backups_have_no_finding(job):
    set_status(job)
    make_finished_scan()
    assert [finding for finding in current_findings(timezone.now()) if "backups" in finding.url] == []


def test_each_source_is_registered():
    now = timezone.now()
    make_finished_scan(ago=3 * HOUR, root_is_missing=True)
    assert "backups.root" in {finding.key for finding in current_findings(now)}
