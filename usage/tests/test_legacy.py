"""Runs from old spools."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db.models import F
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.models import Agent
from portal.legacy import registry
from portal.legacy.files import LegacyFile, LegacyRow
from portal.legacy.registry import BATCH
from portal.legacy.reports import ImportReport
from portal.models import JobRun, NotificationChannel, OutboxMessage
from portal.tests.helpers.legacy_files import effects, import_one, rows_by_code, run_import, write_lines
from portal.work.jobs import exclusive_lease
from usage.models import Licence, Run, RunRollup
from usage.rollups import LEASE_NAME, roll_up

pytestmark = pytest.mark.django_db


def old_run(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "run_id": f"{number:032x}", "app_name": "scan", "app_version": "1.0", "document_count": 1,
        "succeeded_count": 1, "failed_count": 0, "total_pages": 3, "documents": [{"page_count": 3, "status": "success"}],
        "started_at": "2024-03-01T10:20:00Z", **fields,
    }  # fmt: skip


def test_waiting_runs_are_imported_in_their_hour_and_counted(tmp_path: Path) -> None:
    run = old_run(license_ref="L-1", sent_at="2024-03-05T10:00:00Z", file_name="secret.pdf", spool_waited=12.5)
    report = import_one(write_lines(tmp_path / "a.txt", [run]), "--apply")
    assert effects(report) == (1, 0, 0)
    found = Run.objects.get()
    assert (found.started_at, found.clock) == (datetime(2024, 3, 1, 10, 20, tzinfo=UTC), "")
    assert (found.hour, found.reported_by) == (datetime(2024, 3, 1, 10, tzinfo=UTC), "command line")
    assert found.dropped_keys == 1
    assert RunRollup.objects.values_list("license_ref", "hour", "pages").get() == ("L-1", found.hour, 3)


def test_second_import_changes_nothing(tmp_path: Path) -> None:
    older = {"app_name": "scan", "app_version": "0.9", "documents": [], "timestamp": "2024-03-01 10:00:00"}
    path = write_lines(tmp_path / "a.jsonl", [old_run(1), old_run(1), older])
    dry, first = import_one(path), import_one(path, "--apply")
    assert dry == first
    assert effects(first) == (2, 0, 1)
    before = list(Run.objects.order_by("pk").values())
    assert effects(import_one(path, "--apply")) == (0, 0, 3)
    assert list(Run.objects.order_by("pk").values()) == before


def test_run_that_the_client_sent_meanwhile_counts_once(tmp_path: Path, call: Any, client_token: str) -> None:
    assert call("POST", "usage/report", client_token, **old_run()).status_code == 201
    assert effects(import_one(write_lines(tmp_path / "a", [old_run()]), "--apply")) == (0, 0, 1)


def test_run_with_other_content_is_skipped(tmp_path: Path) -> None:
    other = old_run(total_pages=4, documents=[{"page_count": 4, "status": "success"}])
    report = import_one(write_lines(tmp_path / "a", [old_run(), other]), "--apply")
    assert rows_by_code(report["skipped"]) == {"run_conflict": [2]}
    assert Run.objects.get().total_pages == 3


def test_older_forms_are_completed(tmp_path: Path) -> None:
    nameless = {"app_name": "scan", "app_version": "0.9", "timestamp": "2024-03-01 10:00:00"}
    counters = {"document_count": 4, "succeeded_count": 3, "failed_count": 1, "total_pages": 9}
    lines = [
        nameless | counters,
        nameless | {"documents": [{"page_count": 2, "status": "failed"}]},
        {"code": "validation_failed", "status": 400, "at": 1.0, "payload": old_run(7)},
    ]
    path = write_lines(tmp_path / "a", lines)
    assert effects(import_one(path, "--apply", "--timezone", "Europe/Paris")) == (3, 0, 0)
    found = Run.objects.order_by("total_pages").values_list("total_pages", "failed_count", "documents_omitted")
    assert list(found) == [(2, 1, 0), (3, 0, 0), (9, 1, 4)]
    assert set(Run.objects.exclude(run_id=old_run(7)["run_id"]).values_list("started_at", flat=True)) == {
        datetime(2024, 3, 1, 9, tzinfo=UTC)
    }


def test_lines_that_cannot_be_read_are_listed_and_the_others_imported(tmp_path: Path) -> None:
    lines = [
        'n_name": "torn"}',
        '#"run_id": "2", "app_name": "scan"}',
        '{"run_id": "3", "app_na',
        "[]",
        '{"app_name": "a", "app_name": "b"}',
        old_run(6, total_pages=-1),
        old_run(7, total_pages=7),
        old_run(8, started_at=None),
        old_run(9, started_at="2019-12-31T23:59:59Z"),
        "",
        old_run(11),
        old_run(12),
    ]
    status, (file,) = run_import(write_lines(tmp_path / "a", lines), "--apply")
    assert status == 1
    (report,) = file["imports"]
    assert rows_by_code(report["unreadable"]) == {
        "not_json": [1, 3, 4, 5], "validation_failed": [6], "counters_mismatch": [7], "no_time": [8], "bad_time": [9],
    }  # fmt: skip
    assert rows_by_code(report["skipped"]) == {"delivered": [2]}
    assert "-1" not in str(file)
    assert Run.objects.count() == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"documents": 5},
        {"documents": [[]]},
        {"documents": [{"page_count": [1]}]},
        {"app_name": "scan\ud800"},
        {"machine_id": ["PC-1"]},
        {"timestamp": ["2024-03-01"]},
        {"timestamp": True},
        {"run_id": 5},
    ],
    ids=str,
)
def test_hostile_run_without_counters_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    run = {"app_name": "scan", "app_version": "1", "documents": [], "timestamp": 1_700_000_000}
    status, (file,) = run_import(write_lines(tmp_path / "a", [run | fields]), "--apply")
    (report,) = file["imports"]
    assert (status, effects(report), len(report["unreadable"])) == (1, (0, 0, 0), 1)


def test_machine_ids_are_reduced_and_spelled_as_enrolled(tmp_path: Path, make_agent: Any) -> None:
    make_agent(machine_id="Poste-1")
    path = write_lines(tmp_path / "a", [old_run(1, machine_id="POSTE 1"), old_run(2, machine_id="PC-2")])
    report = import_one(path, "--apply")
    assert report["changed_ids"] == [{"from": "POSTE 1", "to": "POSTE-1"}]
    assert list(Run.objects.order_by("run_id").values_list("machine_id", flat=True)) == ["Poste-1", "PC-2"]
    assert Agent.objects.count() == 1


def test_quota_exceeded_by_old_runs_is_marked_without_a_message(tmp_path: Path) -> None:
    NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    licence = Licence.objects.create(ref="L-1", monthly_page_quota=2)
    run = old_run(license_ref="L-1", started_at=timezone.now().isoformat())
    import_one(write_lines(tmp_path / "a", [run]), "--apply")
    licence.refresh_from_db()
    assert licence.told_percent == 100
    assert licence.exceeded_until is not None
    assert not OutboxMessage.objects.exists()


def test_quota_exceeded_by_an_import_that_ended_early_is_marked_without_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_until_the_disk_fails(file: LegacyFile, report: ImportReport) -> Iterator[LegacyRow]:
        for number in range(BATCH):
            yield LegacyRow(number, old_run(number + 1, license_ref="L-1", started_at=timezone.now().isoformat()))
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(LegacyFile, "json_rows", read_until_the_disk_fails)
    NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    licence = Licence.objects.create(ref="L-1", monthly_page_quota=2)
    status, (file,) = run_import(write_lines(tmp_path / "a", [old_run()]), "--apply")
    assert (status, file["error"]["code"], file["imports"][0]["created"]) == (1, "unreadable", BATCH)
    with exclusive_lease("test") as lease:
        assert roll_up(lease)["warnings"] == 0
    licence.refresh_from_db()
    assert licence.told_percent == 100
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [{"machine_id": "poste-1"}, {"machine_id": "POSTE-1"}, {"started_at": None, "sent_at": "2024-03-01T10:20:00Z"}],
    ids=str,
)
def test_imported_run_that_a_client_delivers_later_counts_once(
    tmp_path: Path, call: Any, make_agent: Any, client_token: str, fields: dict[str, Any]
) -> None:
    agent = make_agent(machine_id="Poste-1")
    run = {name: value for name, value in (old_run() | fields).items() if value is not None}
    assert effects(import_one(write_lines(tmp_path / "a", [run]), "--apply")) == (1, 0, 0)
    token = issue_agent_token(agent) if "machine_id" in fields else client_token
    answer = call("POST", "usage/report", token, **run)
    assert answer.status_code == 200, answer.content
    assert Run.objects.values_list("hour", flat=True).get() == datetime(2024, 3, 1, 10, tzinfo=UTC)


def test_import_waits_for_the_job_that_counts_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PATIENCE", timedelta(0))
    with exclusive_lease(LEASE_NAME), pytest.raises(CommandError, match="background job"):
        import_one(write_lines(tmp_path / "a", [old_run()]), "--apply")
    assert not Run.objects.exists()


def test_import_whose_lease_was_taken_over_writes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_the_lease(file: LegacyFile, report: ImportReport) -> Iterator[LegacyRow]:
        JobRun.objects.update(fence=F("fence") + 1)
        yield LegacyRow(1, old_run())

    monkeypatch.setattr(LegacyFile, "json_rows", lose_the_lease)
    with pytest.raises(CommandError, match="background job"):
        import_one(write_lines(tmp_path / "a", [old_run()]), "--apply")
    assert not Run.objects.exists()
