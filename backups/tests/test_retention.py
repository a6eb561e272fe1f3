"""Retention of verified backups."""

from datetime import UTC, datetime, timedelta

import pytest

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner.retention import select_kept
from backups.tests.factories import AFTER_DEADLINE, DATABASE, EXPECTED, REPORTED, dump

DAY = timedelta(days=1)
# A Sunday, and thirty days back from there.
END = datetime(2025, 6, 29, 13, tzinfo=UTC)
DAILY = [END - back * DAY for back in range(30)]


def keep(last, daily, weekly, monthly):
    return ExpectedBackupJob(keep_last=last, keep_daily=daily, keep_weekly=weekly, keep_monthly=monthly)


def days(moments):
    return sorted(f"{moment:%m-%d}" for moment in moments)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (keep(1, 0, 0, 0), ["06-29"]),
        (keep(3, 0, 0, 0), ["06-27", "06-28", "06-29"]),
        (keep(1, 2, 0, 0), ["06-28", "06-29"]),
        (keep(1, 0, 3, 0), ["06-15", "06-22", "06-29"]),
        (keep(1, 0, 0, 3), ["05-31", "06-29"]),
        (keep(2, 0, 2, 2), ["05-31", "06-22", "06-28", "06-29"]),
    ],
)
def test_last_versions_and_one_per_period_are_kept(policy, expected):
    assert days(select_kept(DAILY, policy)) == expected


def test_period_without_backup_uses_no_version_up():
    sparse = [END, END - 20 * DAY, END - 40 * DAY]
    assert select_kept(sparse, keep(1, 3, 0, 0)) == set(sparse)


def test_newest_version_of_a_day_is_kept():
    hourly = [END - timedelta(hours=hours) for hours in range(10)]
    assert select_kept(hourly, keep(1, 1, 0, 0)) == {END}


@pytest.fixture
def few(make_job):
    return make_job(keep_last=2, keep_daily=0, keep_weekly=0, keep_monthly=0)


@pytest.mark.django_db
def test_expired_version_is_removed_and_its_entry_kept(few, machine, scan, versions, current):
    for day in range(4):
        machine.deposit(dump(f"-- {day}\n"), REPORTED + day * DAY)
        scan(AFTER_DEADLINE + day * DAY)
    assert current() == {f"{DATABASE}.sql.gz": dump("-- 3\n")}
    assert versions() == {f"20250614T1300Z_{DATABASE}.sql.gz": dump("-- 2\n")}
    promotions = [*BackupEntry.objects.order_by("cycle_at").values_list("promotion", flat=True)]
    assert promotions == ["removed", "removed", "archived", "promoted"]


@pytest.mark.django_db
def test_doubtful_versions_are_counted_separately(few, machine, scan, versions, current):
    for day in range(3):
        machine.deposit(dump(f"-- good {day}\n"), REPORTED + day * DAY)
        scan(AFTER_DEADLINE + day * DAY)
    for day in (3, 4, 5, 6):
        machine.deposit(b"truncated %d" % day, REPORTED + day * DAY)
        scan(AFTER_DEADLINE + day * DAY)
        scan(AFTER_DEADLINE + day * DAY + timedelta(hours=12))
    scan(AFTER_DEADLINE + 8 * DAY)
    assert [*current().values()] == [dump("-- good 2\n")]
    assert {*versions().values()} == {dump("-- good 1\n"), b"truncated 5", b"truncated 6"}


@pytest.mark.django_db
def test_missing_version_is_marked_removed(few, machine, scan, versions, settings):
    for day in range(2):
        machine.deposit(dump(f"-- {day}\n"), REPORTED + day * DAY)
        scan(AFTER_DEADLINE + day * DAY)
    folder = settings.VALIDATED_ROOT / "ACME" / "_" / DATABASE / "versions"
    next(folder.iterdir()).unlink()
    machine.deposit(dump("-- 2\n"), REPORTED + 2 * DAY)
    scan(AFTER_DEADLINE + 2 * DAY)
    assert BackupEntry.objects.get(cycle_at=EXPECTED).promotion == "removed"
