"""Rollups agree with the runs they were counted from."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum

from portal.models import JobRun
from portal.work.jobs import Lease, LeaseLost, claim_cycle, exclusive_lease
from usage import rollups
from usage.models import Licence, RollupProgress, Run, RunRollup
from usage.tests.factories import create_run
from usage.tests.payloads import document_payload, run_payload

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def lease():
    return claim_cycle("usage.rollups", "now")


@pytest.fixture
def count(lease):
    return lambda now=NOON: rollups.catch_up(now, [lease])


def a_run(at=NOON - MINUTE, **fields):
    return create_run(**{"received_at": at, "started_at": at} | fields)


def all_rollups():
    names = ("hour", "license_ref", "app_name", "app_version", "runs", "documents", "succeeded", "failed", "pages")
    return set(RunRollup.objects.values_list(*names))


def sums_of(model, **names):
    return tuple(model.objects.aggregate(**{name: Sum(field) for name, field in names.items()}).values())


def assert_agreement():
    runs = sums_of(Run, documents="document_count", ok="succeeded_count", failed="failed_count", pages="total_pages")
    assert sums_of(RunRollup, documents="documents", ok="succeeded", failed="failed", pages="pages") == runs
    assert RunRollup.objects.aggregate(runs=Sum("runs"))["runs"] == Run.objects.count()


def test_rollup_has_hour_licence_application_and_version(count):
    a_run(document_count=5, succeeded_count=3, failed_count=1, total_pages=40)
    a_run(document_count=2, succeeded_count=2, failed_count=0, total_pages=2)
    a_run(license_ref="LIC-2")
    a_run(app_name="cli")
    a_run(app_version="7", license_ref="")
    a_run(NOON - HOUR - MINUTE)
    assert count() == 5
    eleven = NOON - HOUR
    assert all_rollups() == {
        (eleven, "LIC-1", "gui", "6", 2, 7, 5, 1, 42),
        (eleven, "LIC-2", "gui", "6", 1, 1, 1, 0, 1),
        (eleven, "LIC-1", "cli", "6", 1, 1, 1, 0, 1),
        (eleven, "", "gui", "7", 1, 1, 1, 0, 1),
        (eleven - HOUR, "LIC-1", "gui", "6", 1, 1, 1, 0, 1),
    }
    assert_agreement()


def test_counting_twice_is_idempotent(count):
    a_run()
    assert count() == 1
    before = all_rollups()
    assert count() == 0
    assert count(NOON + MINUTE) == 0
    assert all_rollups() == before


def test_late_run_counts_in_the_hour_it_happened(count):
    a_run()
    count()
    long_ago = NOON - timedelta(days=21)
    create_run(received_at=NOON + MINUTE, started_at=long_ago, total_pages=9)
    assert count(NOON + 2 * MINUTE) == 1
    assert RunRollup.objects.get(hour=long_ago).pages == 9
    assert_agreement()


def test_other_licences_of_the_hour_are_unchanged(count):
    a_run(NOON - 50 * MINUTE, license_ref="LIC-2")
    count(NOON - 45 * MINUTE)
    a_run()
    assert count() == 1
    assert_agreement()


def test_run_committed_after_receipt_is_counted(count):
    a_run()
    count()
    a_run(NOON - 5 * MINUTE, total_pages=7)
    count(NOON + MINUTE)
    assert_agreement()


def test_old_runs_are_not_read_again(count):
    a_run(NOON - timedelta(days=2))
    count()
    RunRollup.objects.update(pages=99)
    count(NOON + HOUR)
    assert RunRollup.objects.get().pages == 99


def test_long_backlog_is_counted_in_pieces(count, monkeypatch):
    monkeypatch.setattr(rollups, "RUNS_AT_A_TIME", 3)
    for minutes in range(20):
        a_run(NOON - timedelta(minutes=17 * minutes))
    for _ in range(8):
        a_run(NOON - timedelta(days=9))  # more of one moment than a piece holds
    count()
    assert_agreement()


def test_hour_with_too_many_licences_is_counted_completely(count, monkeypatch):
    monkeypatch.setattr(rollups, "MOST_NAMED", 2)
    for number in range(5):
        a_run(license_ref=f"LIC-{number}")
    assert count() == 5
    assert_agreement()


def test_hour_in_several_pieces_is_counted_once(count, monkeypatch):
    monkeypatch.setattr(rollups, "RUNS_AT_A_TIME", 2)
    for minutes in range(9):
        a_run(NOON - timedelta(minutes=3 * minutes), license_ref=f"LIC-{minutes % 2}", started_at=NOON - HOUR)
    counted, changed = [], rollups.find_differences
    monkeypatch.setattr(rollups, "find_differences", lambda hour, refs: counted.extend(refs) or changed(hour, refs))
    count()
    assert sorted(counted) == ["LIC-0", "LIC-1"]
    assert_agreement()


def test_clock_that_ran_ahead_skips_no_run(count):
    a_run()
    count(NOON + timedelta(days=1))
    a_run(NOON + MINUTE, total_pages=5)
    count(NOON + 2 * MINUTE)
    assert_agreement()


def test_run_received_while_the_clock_was_ahead_is_counted_at_once(count):
    a_run(NOON + timedelta(days=1), total_pages=5)
    count()
    assert_agreement()
    assert RollupProgress.objects.get().counted_until <= NOON + MINUTE
    a_run(NOON + MINUTE, total_pages=7)
    count(NOON + 2 * MINUTE)
    assert_agreement()


def test_killed_rollup_is_completed_by_the_next(count, lease, monkeypatch):
    monkeypatch.setattr(rollups, "RUNS_AT_A_TIME", 1)
    for minutes in (1, 90, 200):
        a_run(NOON - timedelta(minutes=minutes))
    pieces = iter([1, 1])

    def killed(fresh, gone):
        next(pieces)
        return write(fresh, gone)

    write = rollups.save_rollups
    monkeypatch.setattr(rollups, "save_rollups", killed)
    with pytest.raises(StopIteration):
        count()
    assert RunRollup.objects.count() == 2
    monkeypatch.setattr(rollups, "save_rollups", write)
    count()
    assert_agreement()


def test_lost_lease_writes_nothing(lease):
    a_run()
    overtaken = Lease(lease.pk, lease.job, lease.cycle_key, lease.fence - 1)
    with pytest.raises(LeaseLost):
        rollups.catch_up(NOON, [overtaken])
    assert not RunRollup.objects.exists()
    assert not RollupProgress.objects.exists()


def test_only_one_process_counts_at_a_time(lease):
    create_run()
    with exclusive_lease(rollups.LEASE_NAME):
        assert rollups.roll_up(lease) == {"rollups": 0, "warnings": 0}
    assert rollups.roll_up(lease) == {"rollups": 1, "warnings": 0}


def test_reported_run_is_counted_by_the_next_job(call, client_token, lease):
    reports = [run_payload(started_at=started) for started in (None, "2026-03-10T09:59:59Z", "2026-03-10T10:00:00Z")]
    reports.append(run_payload([document_payload(page_count=500)], license_ref=None))
    for report in reports:
        assert call("POST", "usage/report", client_token, body=report).status_code == 201
    rollups.roll_up(lease)
    assert_agreement()
    assert RunRollup.objects.aggregate(pages=Sum("pages"))["pages"] == 3 * 12 + 500
    assert RunRollup.objects.filter(license_ref="LIC-2041").count() == 3


# --- Licences --------------------------------------------------------------------------------------------------------


def test_unknown_licence_is_created_without_customer(count):
    a_run(NOON - timedelta(days=30), license_ref="LIC-9")
    a_run(license_ref="LIC-9")
    a_run(license_ref="")
    count()
    licence = Licence.objects.get()
    assert (licence.ref, licence.customer, licence.monthly_page_quota) == ("LIC-9", "", None)
    assert (licence.first_seen_at, licence.last_run_at) == (NOON - timedelta(days=30), NOON - MINUTE)


def test_known_licence_keeps_customer_and_gets_last_run(count):
    Licence.objects.create(ref="LIC-1", customer="Bakery", monthly_page_quota=500)
    a_run()
    count()
    a_run(NOON + MINUTE)
    create_run(received_at=NOON + MINUTE, started_at=NOON - timedelta(days=3))
    count(NOON + 2 * MINUTE)
    licence = Licence.objects.get()
    assert (licence.customer, licence.monthly_page_quota) == ("Bakery", 500)
    assert (licence.first_seen_at, licence.last_run_at) == (NOON - MINUTE, NOON + MINUTE)


def test_used_up_quota_warns_and_flags_later_runs(call, client_token, lease):
    Licence.objects.create(ref="LIC-2041", monthly_page_quota=20)
    sent = [run_payload(started_at=None) for _ in range(3)]
    flagged = []
    for report in sent:
        flagged.append(call("POST", "usage/report", client_token, body=report).json()["over_quota"])
        rollups.roll_up(lease)
    assert flagged == [False, False, True]
    assert Licence.objects.get().told_percent == 100


# --- Rebuilding ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mended(capsys):
    def rebuild(*options):
        call_command("rebuild_rollups", *options)
        return capsys.readouterr()

    return rebuild


def test_rebuild_corrects_and_reports_differences(count, mended):
    a_run(total_pages=5)
    a_run(NOON - 3 * HOUR)
    gone = a_run(NOON - 7 * HOUR)
    count()
    assert mended().out == "No differences.\n"
    RunRollup.objects.filter(hour=NOON - HOUR).update(pages=6)
    RunRollup.objects.filter(hour=NOON - 3 * HOUR).delete()
    gone.delete()
    reported = mended()
    assert reported.out == "3 rollups differed from their runs and were corrected.\n"
    assert reported.err.splitlines() == [
        "2026-03-10 05:00 UTC: 1",
        "2026-03-10 09:00 UTC: 1",
        "2026-03-10 11:00 UTC: 1",
    ]
    assert_agreement()


def test_rebuild_of_a_period_leaves_others_unchanged(count, mended):
    for hours in (1, 3, 5):
        a_run(NOON - hours * HOUR)
    count()
    RunRollup.objects.update(pages=99)
    mended("--since", "2026-03-10T09:30:00Z", "--until", "2026-03-10T11:00:00+00:00")
    assert {rollup.hour.hour: rollup.pages for rollup in RunRollup.objects.all()} == {11: 99, 9: 1, 7: 99}


def test_rebuild_without_rollups_counts_everything(count, mended):
    a_run(NOON - timedelta(days=40))
    a_run()
    mended("--since", "2026-03-10")
    assert RunRollup.objects.count() == 1
    count()
    assert_agreement()


def test_rebuild_during_a_rollup_fails_with_a_message():
    with exclusive_lease(rollups.LEASE_NAME), pytest.raises(CommandError, match="try again"):
        call_command("rebuild_rollups")


def test_rebuild_with_lost_lease_writes_nothing(monkeypatch):
    create_run()
    changed = rollups.find_differences

    def overtaken(hour, refs):
        JobRun.objects.filter(job=rollups.LEASE_NAME).update(fence=9)
        return changed(hour, refs)

    monkeypatch.setattr(rollups, "find_differences", overtaken)
    with pytest.raises(LeaseLost):
        call_command("rebuild_rollups")
    assert not RunRollup.objects.exists()


def test_invalid_time_option_is_refused():
    with pytest.raises(CommandError, match="--since must be a time"):
        call_command("rebuild_rollups", "--since", "yesterday")


def test_licence_references_are_case_sensitive(count):
    for ref in ("lic-1", "LIC-1", "LIC 1", "LIC-1 "):
        a_run(license_ref=ref, run_id=uuid.uuid4())
    assert count() == 4
    assert Licence.objects.count() == 4


def test_runs_received_during_a_rollup_are_counted(count, monkeypatch):
    """A run read before the transaction and committed after it is counted by the next pass, which looks back."""
    a_run()
    changed = rollups.find_differences

    def late(hour, refs):
        found = changed(hour, refs)
        a_run(NOON - 2 * MINUTE)
        monkeypatch.setattr(rollups, "find_differences", changed)
        return found

    monkeypatch.setattr(rollups, "find_differences", late)
    count()
    count(NOON + MINUTE)
    assert_agreement()
