"""Which verified backups are kept."""

from datetime import UTC, datetime, timedelta

import pytest

from backups.models import BackupEntry
from backups.scanner.retention import Policy, kept
from backups.tests.conftest import AFTER_DEADLINE, DATABASE, EXPECTED, REPORTED, dump

DAY = timedelta(days=1)
# A Sunday, and thirty days back from there.
END = datetime(2025, 6, 29, 13, tzinfo=UTC)
DAILY = [END - back * DAY for back in range(30)]


def days(moments):
    return sorted(f"{moment:%m-%d}" for moment in moments)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(1, 0, 0, 0), ["06-29"]),
        (Policy(3, 0, 0, 0), ["06-27", "06-28", "06-29"]),
        (Policy(1, 2, 0, 0), ["06-28", "06-29"]),
        (Policy(1, 0, 3, 0), ["06-15", "06-22", "06-29"]),
        (Policy(1, 0, 0, 3), ["05-31", "06-29"]),
        (Policy(2, 0, 2, 2), ["05-31", "06-22", "06-28", "06-29"]),
    ],
)
def test_the_last_and_one_of_each_period_are_kept(policy, expected):
    assert days(kept(DAILY, policy)) == expected


def test_a_period_without_a_backup_uses_none_up():
    sparse = [END, END - 20 * DAY, END - 40 * DAY]
    assert kept(sparse, Policy(1, 3, 0, 0)) == set(sparse)


def test_of_several_on_a_day_the_newest_is_kept():
    hourly = [END - timedelta(hours=hours) for hours in range(10)]
    assert kept(hourly, Policy(1, 1, 0, 0)) == {END}


@pytest.fixture
def few(make_job):
    return make_job(keep_last=2, keep_daily=0, keep_weekly=0, keep_monthly=0)


@pytest.mark.django_db
def test_what_is_not_kept_goes_from_disk_and_its_entry_stays(few, machine, scan, versions, current):
    for day in range(4):
        machine.deposit(dump(f"-- {day}\n"), REPORTED + day * DAY)
        scan(AFTER_DEADLINE + day * DAY)
    assert current() == {f"{DATABASE}.sql.gz": dump("-- 3\n")}
    assert versions() == {f"20250614T1300Z_{DATABASE}.sql.gz": dump("-- 2\n")}
    promotions = [*BackupEntry.objects.order_by("cycle_at").values_list("promotion", flat=True)]
    assert promotions == ["removed", "removed", "archived", "promoted"]


@pytest.mark.django_db
def test_versions_in_doubt_are_counted_among_themselves_and_failures_not_at_all(few, machine, scan, versions, current):
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
def test_a_version_that_is_gone_already_is_noted_as_such(few, machine, scan, versions, settings):
    for day in range(2):
        machine.deposit(dump(f"-- {day}\n"), REPORTED + day * DAY)
        scan(AFTER_DEADLINE + day * DAY)
    folder = settings.VALIDATED_ROOT / "ACME" / "_" / DATABASE / "versions"
    next(folder.iterdir()).unlink()
    machine.deposit(dump("-- 2\n"), REPORTED + 2 * DAY)
    scan(AFTER_DEADLINE + 2 * DAY)
    assert BackupEntry.objects.get(cycle_at=EXPECTED).promotion == "removed"
