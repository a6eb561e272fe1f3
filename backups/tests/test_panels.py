"""Which databases are protected: on the landing page, and on the page of a machine."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from backups.models import Status
from backups.panels import (
    backups_tile,
    counted,
    databases_of_machine,
    newest_of,
    scans,
    verified_by_day,
)
from backups.tests.entries import entry_of, finished_scan, stand
from portal.work.queue import enqueue

pytestmark = pytest.mark.django_db
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


def figures():
    found = counted(timezone.now())
    return found.protected, found.failing, found.waiting, found.paused


class TestWhichAreProtected:
    @pytest.mark.parametrize(
        ("status", "ago", "fields", "expected"),
        [
            (Status.SUCCESS, HOUR, {}, (1, 0, 0, 0)),
            (Status.SUCCESS, 3 * DAY, {}, (0, 0, 1, 0)),
            (Status.SUCCESS, 3 * DAY, {"days_of_week": "MO,FR"}, (1, 0, 0, 0)),
            (Status.SUCCESS, 8 * DAY, {"expected_frequency": "weekly"}, (1, 0, 0, 0)),
            (Status.SUCCESS, 10 * DAY, {"expected_frequency": "weekly"}, (0, 0, 1, 0)),
            (Status.SUCCESS, HOUR, {"damage": {"code": "current_differs"}}, (0, 1, 0, 0)),
            (Status.HASH_MISMATCH, HOUR, {}, (1, 0, 0, 0)),
            (Status.HASH_MISMATCH, HOUR, {"unchanged_policy": "alert"}, (0, 1, 0, 0)),
            (Status.MISSING, HOUR, {}, (0, 1, 0, 0)),
            (Status.FAILED, HOUR, {}, (0, 1, 0, 0)),
            (Status.TRANSFER_INTEGRITY_FAILED, HOUR, {}, (0, 1, 0, 0)),
            (Status.UNVERIFIED, HOUR, {}, (0, 0, 1, 0)),
            (Status.PENDING, HOUR, {}, (0, 0, 1, 0)),
            (Status.SUCCESS, HOUR, {"in_doubt": True}, (0, 0, 0, 0)),
            (Status.HASH_MISMATCH, HOUR, {"in_doubt": True, "unchanged_policy": "alert"}, (0, 1, 0, 0)),
            (Status.SUCCESS, 30 * DAY, {"schedule": "0 2 1 * *"}, (1, 0, 0, 0)),
            (Status.SUCCESS, 33 * DAY, {"schedule": "0 2 1 * *"}, (0, 0, 1, 0)),
            (Status.MISSING, HOUR, {"is_active": False}, (0, 0, 0, 1)),
            (Status.SUCCESS, HOUR, {"is_active": False}, (0, 0, 0, 1)),
        ],
    )
    def test_each_counts_once(self, job, status, ago, fields, expected):
        for name, value in fields.items():
            setattr(job, name, value)
        job.save()
        stand(job, status, ago)
        assert figures() == expected

    def test_a_pause_counts_until_it_is_over(self, job):
        stand(job, paused_until=timezone.now() + HOUR)
        assert figures() == (0, 0, 0, 1)
        stand(job, ago=2 * HOUR, paused_until=timezone.now() - HOUR)
        assert figures() == (1, 0, 0, 0)


class TestTheTile:
    def test_it_says_how_many_of_how_many(self, make_job):
        stand(make_job("a"))
        stand(make_job("b"), Status.MISSING)
        stand(make_job("c"), Status.PENDING)
        stand(make_job("d"), is_active=False)
        finished_scan()
        tile = backups_tile(timezone.now())
        assert (tile.figure, tile.caption) == ("1 of 3", "databases are protected")
        assert dict(tile.facts) == {
            "failing": "1", "suspicious": "0", "waiting or late": "1", "paused": "1", "last scan": "4\xa0minutes ago",
        }  # fmt: skip

    def test_it_draws_the_verified_backups_of_thirty_days(self, job):
        for status, ago in (
            (Status.SUCCESS, timedelta()), (Status.HASH_MISMATCH, DAY), (Status.MISSING, 2 * DAY), (Status.SUCCESS, 40 * DAY)
        ):  # fmt: skip
            entry_of(job, status, ago)
        chart = backups_tile(timezone.now()).chart
        assert (chart.values[-3:], sum(chart.values), len(chart.values)) == ([0, 1, 1], 2, 30)

    def test_it_reads_once_a_minute_but_for_the_last_scan(self, job, django_assert_num_queries):
        stand(job)
        backups_tile(timezone.now())
        with django_assert_num_queries(1):
            backups_tile(timezone.now())

    def test_days_are_the_operators(self, job):
        with timezone.override("Pacific/Auckland"):
            entry = entry_of(job)
            assert verified_by_day(timezone.now()) == {timezone.localdate(entry.cycle_at): 1}


class TestTheNewestEntries:
    def test_they_are_the_latest_and_the_latest_good_one(self, make_job, django_assert_num_queries):
        jobs = [make_job(name) for name in ("a", "b", "c")]
        good = entry_of(jobs[0], ago=3 * HOUR)
        entry_of(jobs[0], ago=5 * HOUR)
        latest = entry_of(jobs[0], Status.MISSING, 2 * HOUR)
        only_bad = entry_of(jobs[1], Status.FAILED)
        with django_assert_num_queries(2):
            found = newest_of(jobs)
        assert (found[jobs[0].pk].latest, found[jobs[0].pk].good) == (latest, good)
        assert (found[jobs[1].pk].latest, found[jobs[1].pk].good) == (only_bad, None)
        assert (found[jobs[2].pk].latest, found[jobs[2].pk].size) == (None, None)


class TestTheLastScan:
    def test_it_is_the_last_finished_one_of_all_machines(self):
        whole = finished_scan()
        finished_scan(agent_id="SRV-1")
        running = finished_scan(finished_at=None)
        enqueue("backups.scan_agent", "SRV-1", running.pk, cluster="slow")
        found = scans(timezone.now())
        assert (found.last, found.running, found.root_is_missing) == (whole, running, False)

    def test_killed_scan_does_not_run(self):
        finished_scan(finished_at=None)
        assert scans(timezone.now()).running is None

    def test_the_newest_knows_whether_the_root_is_there(self):
        finished_scan(root_is_missing=True)
        assert scans(timezone.now()).root_is_missing
        finished_scan(finished_at=None)
        assert not scans(timezone.now()).root_is_missing


class TestTheDatabasesOfAMachine:
    def test_they_stand_on_its_page(self, make_job):
        stand(make_job("a", "SRV-1"))
        stand(make_job("b", "SRV-1"), Status.MISSING)
        stand(make_job("c", "SRV-10"))
        section = databases_of_machine("SRV-1")
        assert ["verified" in row[1] for row in section.rows] == [True, False]
        assert [row[3] for row in section.rows] == ["4.0\xa0KB", ""]
        assert section.rows[1][2] == "never"
        assert section.url.endswith("?q=SRV-1")

    def test_they_are_bounded_and_cost_three_queries(self, make_job, django_assert_num_queries):
        for number in range(51):
            entry_of(make_job(f"db{number:02d}", "SRV-1"))
        with django_assert_num_queries(3):
            section = databases_of_machine("SRV-1")
        assert (len(section.rows), section.note) == (50, "More databases are not shown.")

    def test_a_paused_one_is_expected_at_no_moment(self, make_job):
        make_job("a", "SRV-1", is_active=False)
        row = databases_of_machine("SRV-1").rows[0]
        assert ("paused" in row[1], row[4]) == (True, None)

    def test_days_that_are_none_break_no_page(self, make_job):
        make_job("a", "SRV-1", days_of_week="someday")
        assert databases_of_machine("SRV-1").rows[0][4] is None

    def test_a_machine_without_any_says_so(self):
        assert databases_of_machine("SRV-1").empty == "No backup of this machine is expected."
