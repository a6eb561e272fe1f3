"""Protected databases on the landing page and on machine pages."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from backups.findings import overdue_databases
from backups.models import BackupEntry, ExpectedBackupJob, Status
from backups.panels import (
    backups_tile,
    count_jobs,
    count_verified_by_day,
    job_badge,
    load_latest_entries,
    load_scan_status,
    machine_databases_section,
)
from backups.protection import CONDITIONS, Standing, with_standing
from backups.tests.factories import make_entry, make_finished_scan, set_status
from portal.tests.helpers.queries import count_queries
from portal.work.queue import enqueue

pytestmark = pytest.mark.django_db
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


def figures():
    found = count_jobs(timezone.now())
    return found.protected, found.failing, found.overdue, found.pending, found.paused


class TestWhichAreProtected:
    @pytest.mark.parametrize(
        ("status", "ago", "fields", "expected"),
        [
            (Status.SUCCESS, HOUR, {}, (1, 0, 0, 0, 0)),
            (Status.SUCCESS, 3 * DAY, {}, (0, 0, 1, 0, 0)),
            (Status.SUCCESS, 3 * DAY, {"days_of_week": "MO,FR"}, (1, 0, 0, 0, 0)),
            (Status.SUCCESS, 8 * DAY, {"expected_frequency": "weekly"}, (1, 0, 0, 0, 0)),
            (Status.SUCCESS, 10 * DAY, {"expected_frequency": "weekly"}, (0, 0, 1, 0, 0)),
            (Status.SUCCESS, HOUR, {"damage": {"code": "current_differs"}}, (0, 1, 0, 0, 0)),
            (Status.UNCHANGED, HOUR, {}, (1, 0, 0, 0, 0)),
            (Status.UNCHANGED, HOUR, {"unchanged_policy": "alert"}, (0, 1, 0, 0, 0)),
            (Status.MISSING, HOUR, {}, (0, 1, 0, 0, 0)),
            (Status.FAILED, HOUR, {}, (0, 1, 0, 0, 0)),
            (Status.TRANSFER_INTEGRITY_FAILED, HOUR, {}, (0, 1, 0, 0, 0)),
            (Status.UNVERIFIED, HOUR, {}, (0, 0, 1, 0, 0)),
            (Status.PENDING, HOUR, {}, (0, 0, 1, 0, 0)),
            (Status.SUCCESS, HOUR, {"in_doubt": True}, (0, 0, 0, 0, 0)),
            (Status.UNCHANGED, HOUR, {"in_doubt": True, "unchanged_policy": "alert"}, (0, 1, 0, 0, 0)),
            (Status.SUCCESS, 30 * DAY, {"schedule": "0 2 1 * *"}, (1, 0, 0, 0, 0)),
            (Status.SUCCESS, 33 * DAY, {"schedule": "0 2 1 * *"}, (0, 0, 1, 0, 0)),
            (Status.MISSING, HOUR, {"is_active": False}, (0, 0, 0, 0, 1)),
            (Status.SUCCESS, HOUR, {"is_active": False}, (0, 0, 0, 0, 1)),
        ],
    )
    def test_each_job_is_counted_once(self, job, status, ago, fields, expected):
        for name, value in fields.items():
            setattr(job, name, value)
        job.save()
        set_status(job, status, ago)
        assert figures() == expected

    def test_paused_job_is_counted_as_paused_until_it_ends(self, job):
        set_status(job, paused_until=timezone.now() + HOUR)
        assert figures() == (0, 0, 0, 0, 1)
        set_status(job, ago=2 * HOUR, paused_until=timezone.now() - HOUR)
        assert figures() == (1, 0, 0, 0, 0)

    def test_new_job_is_pending_until_its_first_backup_is_overdue(self, make_job):
        job = make_job(watched_since=timezone.now())
        assert figures() == (0, 0, 0, 1, 0)
        ExpectedBackupJob.objects.update(watched_since=timezone.now() - job.fresh_for - HOUR)
        assert figures() == (0, 0, 1, 0, 0)

    @pytest.mark.parametrize(
        ("status", "ago", "fields", "standing"),
        [
            (Status.SUCCESS, HOUR, {}, Standing.PROTECTED),
            (Status.SUCCESS, 3 * DAY, {}, Standing.OVERDUE),
            (Status.SUCCESS, HOUR, {"in_doubt": True}, Standing.SUSPICIOUS),
            (Status.SUCCESS, 3 * DAY, {"damage": {"code": "current_differs"}}, Standing.FAILING),
            (Status.PENDING, HOUR, {"watched_since": timezone.now()}, Standing.PENDING),
            (Status.SUCCESS, 3 * DAY, {"is_active": False}, Standing.PAUSED),
        ],
    )
    def test_figures_filter_finding_and_badge_follow_one_rule(self, job, status, ago, fields, standing):
        now = timezone.now()
        set_status(job, status, ago, **fields)
        annotated = with_standing(ExpectedBackupJob.objects.all(), now).get()
        assert annotated.standing == standing
        assert [name for name, condition in CONDITIONS.items() if ExpectedBackupJob.objects.filter(condition(now))] == [
            standing
        ]
        assert getattr(count_jobs(now), standing) == 1
        assert ("badge-good" in job_badge(annotated, now)) == (standing == Standing.PROTECTED)
        found = [finding.key for finding in overdue_databases(now)]
        assert found == ([f"backups.overdue:{job.pk}"] if standing == Standing.OVERDUE else [])


class TestTheTile:
    def test_tile_shows_protected_of_watched(self, make_job):
        set_status(make_job("a"))
        set_status(make_job("b"), Status.MISSING)
        set_status(make_job("c"), Status.PENDING, watched_since=timezone.now())
        set_status(make_job("d"), is_active=False)
        make_finished_scan()
        tile = backups_tile(timezone.now())
        assert tile.figure == "1 of 3"
        assert dict(tile.facts) == {
            "failing": "1", "overdue": "0", "suspicious": "0", "pending": "1", "paused": "1",
            "last scan": "4\xa0min ago",
        }  # fmt: skip

    def test_tile_without_monitored_databases_shows_no_figure(self, make_job):
        make_job(is_active=False)
        assert backups_tile(timezone.now()).figure == "–"

    def test_tile_charts_verified_backups_of_thirty_days(self, job):
        for status, ago in (
            (Status.SUCCESS, timedelta()), (Status.UNCHANGED, DAY), (Status.MISSING, 2 * DAY), (Status.SUCCESS, 40 * DAY)
        ):  # fmt: skip
            make_entry(job, status, ago)
        chart = backups_tile(timezone.now()).chart
        assert (chart.values[-3:], sum(chart.values), len(chart.values)) == ([0, 1, 1], 2, 30)

    def test_tile_is_cached_for_a_minute_except_the_last_scan(self, job, django_assert_num_queries):
        set_status(job)
        backups_tile(timezone.now())
        with django_assert_num_queries(1):
            backups_tile(timezone.now())

    def test_chart_days_are_in_local_time(self, job):
        with timezone.override("Pacific/Auckland"):
            entry = make_entry(job)
            assert count_verified_by_day(timezone.now()) == {timezone.localdate(entry.cycle_at): 1}


class TestTheNewestEntries:
    def test_latest_entries_are_the_last_and_the_last_verified(self, make_job, django_assert_num_queries):
        jobs = [make_job(name) for name in ("a", "b", "c")]
        good = make_entry(jobs[0], ago=3 * HOUR)
        make_entry(jobs[0], ago=5 * HOUR)
        latest = make_entry(jobs[0], Status.MISSING, 2 * HOUR)
        only_bad = make_entry(jobs[1], Status.FAILED)
        with django_assert_num_queries(2):
            found = load_latest_entries(jobs)
        assert (found[jobs[0].pk].latest, found[jobs[0].pk].verified) == (latest, good)
        assert (found[jobs[1].pk].latest, found[jobs[1].pk].verified) == (only_bad, None)
        assert (found[jobs[2].pk].latest, found[jobs[2].pk].size) == (None, None)

    def test_dump_in_doubt_is_latest_and_not_verified(self, job):
        good = make_entry(job, ago=3 * HOUR, warnings=["early"])
        doubtful = make_entry(job, server_size=7, warnings=["shrunk"])
        found = load_latest_entries([job])[job.pk]
        assert (found.latest, found.verified, found.size) == (doubtful, good, 4096)
        assert list(BackupEntry.objects.good()) == [good]
        assert [entry.is_good for entry in (good, doubtful)] == [True, False]
        assert sum(count_verified_by_day(timezone.now()).values()) == 1


class TestTheLastScan:
    def test_last_scan_is_the_last_finished_full_one(self):
        whole = make_finished_scan()
        make_finished_scan(agent_id="SRV-1")
        running = make_finished_scan(finished_at=None)
        enqueue("backups.scan_agent", "SRV-1", running.pk, cluster="slow")
        found = load_scan_status(timezone.now())
        assert (found.last, found.running, found.root_is_missing) == (whole, running, False)

    def test_running_full_scan_is_found_behind_many_scans_of_single_machines(self):
        running = make_finished_scan(finished_at=None)
        for number in range(12):
            single = make_finished_scan(agent_id=f"SRV-{number}", finished_at=None)
            enqueue("backups.scan_agent", single.agent_id, single.pk, cluster="slow")
        enqueue("backups.scan_agent", "SRV-1", running.pk, cluster="slow")
        assert load_scan_status(timezone.now()).running == running

    def test_killed_scan_is_not_running(self):
        make_finished_scan(finished_at=None)
        assert load_scan_status(timezone.now()).running is None

    def test_missing_root_is_taken_from_the_newest_scan(self):
        make_finished_scan(root_is_missing=True)
        assert load_scan_status(timezone.now()).root_is_missing
        make_finished_scan(finished_at=None)
        assert not load_scan_status(timezone.now()).root_is_missing


class TestTheDatabasesOfAMachine:
    def test_machine_page_lists_its_databases(self, make_job):
        set_status(make_job("a", "SRV-1"))
        set_status(make_job("b", "SRV-1"), Status.MISSING)
        set_status(make_job("c", "SRV-10"))
        section = machine_databases_section("SRV-1")
        assert ["verified" in row[1] for row in section.rows] == [True, False]
        assert [row[4] for row in section.rows] == ["4.0\xa0KB", ""]
        assert section.rows[1][3] == "never"
        assert section.url.endswith("?q=SRV-1")

    def test_section_is_limited_and_takes_as_many_queries_for_many_databases(self, make_job):
        make_entry(make_job("db00", "SRV-1"))
        few = count_queries(lambda: machine_databases_section("SRV-1"))
        for number in range(1, 51):
            make_entry(make_job(f"db{number:02d}", "SRV-1"))
        assert count_queries(lambda: machine_databases_section("SRV-1")) == few
        section = machine_databases_section("SRV-1")
        assert (len(section.rows), section.note) == (50, "More databases are not shown.")

    def test_paused_database_has_no_next_expected_time(self, make_job):
        make_job("a", "SRV-1", is_active=False)
        row = machine_databases_section("SRV-1").rows[0]
        assert ("paused" in row[1], row[5]) == (True, None)

    def test_unknown_weekdays_do_not_break_the_page(self, make_job):
        make_job("a", "SRV-1", days_of_week="someday")
        assert machine_databases_section("SRV-1").rows[0][5] is None

    def test_machine_without_databases_shows_an_empty_section(self):
        assert machine_databases_section("SRV-1").empty == "No expected backups for this machine."
