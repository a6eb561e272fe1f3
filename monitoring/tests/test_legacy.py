"""Rounds of an older `beta_monitor`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from monitoring.figures.rollups import LEASE_KEY, rebuild_rollups
from monitoring.models import CheckResult, Incident, Rollup, Round, Target
from monitoring.tests.factories import create_target
from portal.legacy import registry
from portal.models import OutboxMessage
from portal.tests.helpers.legacy_files import effects, import_one, rows_by_code, run_import, write_lines
from portal.work.jobs import exclusive_lease

pytestmark = pytest.mark.django_db
NINE = datetime(2024, 3, 1, 9, tzinfo=UTC)
BASE = "https://old.example.org"


def old_round(
    minute: int = 0, *, failing: tuple[str, ...] = (), paths: tuple[str, ...] = ("/", "/api"), **fields: Any
) -> Any:
    results = [
        {"path": path, "status": 500 if path in failing else 200, "latency_ms": 100.0, "ok": path not in failing}
        for path in paths
    ]
    return {
        "check_number": minute + 1, "timestamp": (NINE + timedelta(minutes=minute)).replace(tzinfo=None).isoformat(),
        "total_checks": len(paths), "failures": len(failing), "error_rate": 0.0, "p95_ms": 100.0, "results": results,
        **fields,
    }  # fmt: skip


def hours() -> list[tuple[Any, ...]]:
    rows = Rollup.objects.filter(period="hour").order_by("target__url", "start")
    return list(rows.values_list("target__url", "start", "checks", "failures", "latency_sum_ms"))


@pytest.mark.usefixtures("channel")
def test_rounds_become_figures_of_paused_targets_and_alert_nobody(tmp_path: Path) -> None:
    rounds = [old_round(minute, failing=("/api",) if minute < 30 else ()) for minute in range(90)]
    report = import_one(write_lines(tmp_path / "a", rounds), "--apply", "--url", f"{BASE}/")
    assert effects(report) == (4, 0, 0)
    assert hours() == [
        (f"{BASE}/", NINE, 60, 0, 6000.0),
        (f"{BASE}/", NINE + timedelta(hours=1), 30, 0, 3000.0),
        (f"{BASE}/api", NINE, 60, 30, 3000.0),
        (f"{BASE}/api", NINE + timedelta(hours=1), 30, 0, 3000.0),
    ]
    days = Rollup.objects.filter(period="day").order_by("target__url").values_list("start", "checks", "failures")
    midnight = NINE.replace(hour=0)
    assert list(days) == [(midnight, 90, 0), (midnight, 90, 30)]
    assert set(Target.objects.values_list("is_active", "state", "last_check_at")) == {(False, "unknown", None)}
    assert not any(rows.objects.exists() for rows in (Round, CheckResult, Incident, OutboxMessage))


def test_second_import_changes_nothing_and_a_longer_log_is_taken_over(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a", [old_round(minute) for minute in range(30)])
    dry, first = import_one(path, "--url", BASE), import_one(path, "--apply", "--url", BASE)
    assert dry == first
    before = list(Rollup.objects.order_by("pk").values())
    assert effects(import_one(path, "--apply", "--url", BASE)) == (0, 0, 2)
    assert list(Rollup.objects.order_by("pk").values()) == before
    write_lines(path, [old_round(minute) for minute in range(40)])
    assert effects(import_one(path, "--apply", "--url", BASE)) == (0, 2, 0)
    assert {row[2] for row in hours()} == {40}
    write_lines(path, [old_round(minute) for minute in range(20)])
    assert rows_by_code(import_one(path, "--apply", "--url", BASE)["skipped"]) == {"counted": [1, 1]}


def test_figures_join_those_of_a_target_with_the_same_address(tmp_path: Path) -> None:
    target = create_target()
    Target.objects.update(url=f"{BASE}/api")
    CheckResult.objects.create(target=target, at=NINE + timedelta(hours=3), latency_ms=50.0, status=200)
    rebuild_rollups(NINE, NINE + timedelta(hours=4))
    import_one(write_lines(tmp_path / "a", [old_round(paths=("/api?key=1#top",))] * 2), "--apply", "--url", BASE)
    assert Target.objects.count() == 1
    assert Rollup.objects.get(period="day").checks == 3


@pytest.mark.parametrize("kept", ["checks", "minutes"])
def test_hour_that_the_portal_checked_itself_is_skipped(tmp_path: Path, kept: str) -> None:
    target = create_target()
    Target.objects.update(url=f"{BASE}/api")
    for minute in range(10):
        CheckResult.objects.create(target=target, at=NINE + timedelta(minutes=minute), error_kind="status", status=500)
    if kept == "minutes":
        rebuild_rollups(NINE, NINE + timedelta(hours=1))
        CheckResult.objects.all().delete()
    rounds = [old_round(minute, paths=("/api",)) for minute in (*range(20), 60)]
    path = write_lines(tmp_path / "a", rounds)
    dry, done = import_one(path, "--url", BASE), import_one(path, "--apply", "--url", BASE)
    assert dry == done
    assert (effects(done), rows_by_code(done["skipped"])) == ((1, 0, 0), {"watched": [1]})
    rebuild_rollups(NINE, NINE + timedelta(hours=1))
    assert [row[1:4] for row in hours()] == [(NINE, 10, 10), (NINE + timedelta(hours=1), 1, 0)]


def test_response_times_beyond_a_day_are_left_out(tmp_path: Path) -> None:
    results = [{"path": "/", "ok": True, "latency_ms": value} for value in (10**400, 1e308, 1e308, 86_400_001, 7)]
    import_one(write_lines(tmp_path / "a", [old_round(results=results)]), "--apply", "--url", BASE)
    assert hours() == [(f"{BASE}/", NINE, 5, 0, 7.0)]


def test_import_waits_for_the_job_that_rolls_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PATIENCE", timedelta(0))
    with exclusive_lease(LEASE_KEY), pytest.raises(CommandError, match="background job"):
        import_one(write_lines(tmp_path / "a", [old_round()]), "--apply", "--url", BASE)
    assert not Rollup.objects.exists()


def test_rounds_without_an_address_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a", [old_round()])
    for options in ([], ["--url", "ftp://old.example.org"]):
        status, (file,) = run_import(path, "--apply", *options)
        assert (status, file["error"]["code"]) == (1, "url_required")


def test_rounds_that_cannot_be_read_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    ok = {"path": "/", "ok": True, "latency_ms": "fast"}
    lines = [
        old_round(0, results=[]),
        old_round(0, results=[{"path": "/", "ok": "yes"}]),
        old_round(0, results=[ok, {"path": None, "ok": True}]),
        old_round(0, timestamp="noon"),
        old_round(0, paths=("/\ud800",)),
        old_round(0, results=[ok]),
        old_round(240),
        old_round(59),
        '{"check_number": 9, "timest',
        old_round(241, paths=("/", "/a b")),
        old_round(241, paths=("/a\0b",)),
    ]
    status, (file,) = run_import(write_lines(tmp_path / "a", lines), "--apply", "--url", BASE)
    assert status == 1
    (report,) = file["imports"]
    assert rows_by_code(report["unreadable"]) == {
        "bad_round": [1, 2, 3, 5, 10, 11], "bad_time": [4], "out_of_order": [8], "not_json": [9],
    }  # fmt: skip
    assert file["error"] is None
    assert hours()[0] == (f"{BASE}/", NINE, 1, 0, 0.0)


def test_endless_paths_are_refused(tmp_path: Path) -> None:
    rounds = [old_round(minute, paths=(f"/{minute}",)) for minute in range(201)]
    _status, (file,) = run_import(write_lines(tmp_path / "a", rounds), "--url", BASE)
    assert file["error"]["code"] == "too_many_paths"
