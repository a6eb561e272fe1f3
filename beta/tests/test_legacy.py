"""Feedback of an older tool."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.utils import timezone

from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report.gather import build_report
from beta.report.review import REVIEW_LEASE, review_verdicts
from beta.tests.factories import create_programme
from portal.legacy import registry
from portal.legacy.registry import BATCH
from portal.models import OutboxMessage
from portal.tests.helpers.legacy_files import effects, import_one, make_database, rows_by_code, run_import
from portal.work.jobs import exclusive_lease

pytestmark = pytest.mark.django_db


def old_feedback(comment: object = "Fine.", **fields: Any) -> dict[str, Any]:
    return {"type": "ux", "nps_score": 9, "comment": comment, "created_at": "2026-03-04 10:00:00", **fields}


def old_database(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    return make_database(tmp_path / "old.db", "beta_feedback", rows)


def test_each_feedback_without_a_participant_counts_as_one(tmp_path: Path) -> None:
    programme = create_programme()
    report = import_one(old_database(tmp_path, *[old_feedback()] * 3), "--apply", "--programme", programme.name)
    assert effects(report) == (3, 0, 0)
    participants = build_report(programme, timezone.now())["participants"]
    assert participants["count"] == 3
    assert set(BetaFeedback.objects.values_list("given_at", "type", "nps_score", "comment")) == {
        (datetime(2026, 3, 4, 10, tzinfo=UTC), "ux", 9, "Fine.")
    }


def test_second_import_changes_nothing(tmp_path: Path) -> None:
    programme = create_programme()
    path = old_database(tmp_path, old_feedback(), old_feedback())
    dry, first = import_one(path, "--programme", programme.name), import_one(path, "--apply")
    assert dry == first
    BetaFeedback.objects.update(status="fixed", severity="low")
    before = list(BetaFeedback.objects.order_by("pk").values())
    assert effects(import_one(path, "--apply", "--timezone", "Europe/Paris")) == (0, 0, 2)
    assert list(BetaFeedback.objects.order_by("pk").values()) == before


def test_first_programme_is_created_and_starts_with_the_first_feedback(tmp_path: Path) -> None:
    path = old_database(tmp_path, old_feedback(), old_feedback(created_at="2024-02-29 23:30:00"))
    import_one(path)
    assert not BetaProgramme.objects.exists()
    import_one(path, "--apply")
    assert BetaProgramme.objects.values_list("name", "starts").get() == ("default", date(2024, 2, 29))
    assert BetaFeedback.objects.filter(given_at=datetime(2024, 2, 29, 23, 30, tzinfo=UTC)).count() == 1


@pytest.mark.parametrize(
    ("programmes", "options", "code"),
    [(["a"], ["--programme", "b"], "programme_unknown"), (["a", "b"], [], "programme_required")],
)
def test_feedback_without_one_programme_is_refused(
    tmp_path: Path, programmes: list[str], options: list[str], code: str
) -> None:
    for name in programmes:
        create_programme(name)
    status, (file,) = run_import(old_database(tmp_path, old_feedback()), "--apply", *options)
    assert (status, file["error"]["code"]) == (1, code)
    assert not BetaFeedback.objects.exists()


def test_rows_that_cannot_be_read_are_listed_and_the_others_imported(tmp_path: Path) -> None:
    create_programme()
    path = old_database(
        tmp_path,
        old_feedback(type="rant"),
        old_feedback(nps_score=11),
        old_feedback(nps_score="seven"),
        old_feedback(comment=None, nps_score=None),
        old_feedback(created_at="soon"),
        old_feedback(comment=b"caf\xe9", type=" Bug ", severity="HIGH", nps_score=7.0),
        old_feedback(comment="", nps_score=" 8 "),
    )
    status, (file,) = run_import(path, "--apply")
    assert status == 1
    (report,) = file["imports"]
    assert [(reason["code"], reason["rows"]) for reason in report["unreadable"]] == [
        ("validation_failed", [1]), ("validation_failed", [2, 3]), ("validation_failed", [4]), ("bad_time", [5]),
    ]  # fmt: skip
    assert rows_by_code(report["skipped"]) == {}
    assert set(BetaFeedback.objects.values_list("comment", "type", "severity", "nps_score")) == {
        ("café", "bug", "high", 7), ("", "ux", "", 8),
    }  # fmt: skip


@pytest.mark.usefixtures("channel")
def test_verdict_changed_by_old_feedback_is_stored_without_a_message(tmp_path: Path) -> None:
    programme = create_programme(participants_target=1)
    import_one(old_database(tmp_path, old_feedback()), "--apply")
    with exclusive_lease("test") as lease:
        review_verdicts(lease)
        import_one(make_database(tmp_path / "b.db", "beta_feedback", [old_feedback("No.", nps_score=0)] * 5), "--apply")
        review_verdicts(lease)
    verdicts = BetaSnapshot.objects.filter(programme=programme, reason="verdict").order_by("id")
    assert [*verdicts.values_list("verdict", flat=True)] == ["GO", "NO-GO"]
    assert not OutboxMessage.objects.exists()


@pytest.mark.usefixtures("channel")
def test_verdict_changed_by_an_import_that_ended_early_is_stored_without_a_message(tmp_path: Path) -> None:
    create_programme(participants_target=1)
    import_one(old_database(tmp_path, old_feedback()), "--apply")
    rows = [old_feedback("No.", nps_score=0)] * 599 + [old_feedback("x" * 3 * 2**20)]
    with exclusive_lease("test") as lease:
        review_verdicts(lease)
        status, (file,) = run_import(make_database(tmp_path / "b.db", "beta_feedback", rows), "--apply")
        assert (status, file["error"]["code"], file["imports"][0]["created"]) == (1, "value_too_large", BATCH)
        review_verdicts(lease)
    assert [*BetaSnapshot.objects.order_by("id").values_list("verdict", flat=True)] == ["GO", "NO-GO"]
    assert not OutboxMessage.objects.exists()


def test_feedback_keeps_its_ids_when_the_old_database_is_compacted(tmp_path: Path) -> None:
    create_programme()
    path = old_database(tmp_path, *[old_feedback(f"{number // 2}") for number in range(8)])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as tool:
        tool.execute("DELETE FROM beta_feedback WHERE rowid IN (1, 3)")
        assert effects(import_one(path, "--apply")) == (6, 0, 0)
        tool.execute("VACUUM")
    assert effects(import_one(path, "--apply")) == (0, 0, 6)


def test_import_waits_for_the_review_of_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PATIENCE", timedelta(0))
    create_programme()
    with exclusive_lease(REVIEW_LEASE), pytest.raises(CommandError, match="background job"):
        import_one(old_database(tmp_path, old_feedback()), "--apply")
    assert not BetaFeedback.objects.exists()
