"""Machines of an older tool."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from agents.enrolment import issue_agent_token
from agents.models import Agent
from portal.models import ApiToken, AuditEvent, OutboxMessage
from portal.tests.helpers.legacy_files import effects, import_one, machine, make_database, rows_by_code, run_import

Call = Callable[..., Any]
pytestmark = pytest.mark.django_db


def old_database(tmp_path: Path, *rows: dict[str, object]) -> Path:
    path = tmp_path / "anything.bin"
    path.unlink(missing_ok=True)
    return make_database(path, "enrolled_agents", rows)


def test_machine_is_imported_with_its_history_and_no_token(tmp_path: Path) -> None:
    path = old_database(
        tmp_path,
        machine(
            "PC-1", user_name="Zoé\x00", user_email="zoe@example.org", hostname="h" * 300, version="1.0",
            status="Uninstalled", last_seen_at="2024-04-01T10:00:00+02:00", uninstalled_at=1_714_550_400.0,
            uninstall_reason="replaced",
        ),
    )  # fmt: skip
    assert effects(import_one(path, "--apply")) == (1, 0, 0)
    found = Agent.objects.get()
    assert (found.machine_id, found.user_name, found.hostname) == ("PC-1", "Zoé", "h" * 255)
    assert (found.status, found.uninstall_reason) == ("uninstalled", "replaced")
    assert found.enrolled_at == datetime(2024, 3, 1, 10, tzinfo=UTC)
    assert found.last_seen_at == datetime(2024, 4, 1, 8, tzinfo=UTC)
    assert found.uninstalled_at == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert not ApiToken.objects.exists()
    assert not OutboxMessage.objects.exists()
    assert AuditEvent.objects.get().after == {"data": "machines", "created": 1, "updated": 0}


def test_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    path = old_database(tmp_path, machine("PC-1"), machine("PC 2"))
    dry = import_one(path)
    assert not Agent.objects.exists()
    assert not AuditEvent.objects.exists()
    assert import_one(path, "--apply") == dry


def test_second_import_changes_nothing(tmp_path: Path) -> None:
    path = old_database(tmp_path, machine("PC-1"), machine("PC-1 "), machine("PC-2", status=None))
    import_one(path, "--apply")
    before = list(Agent.objects.order_by("pk").values())
    again = import_one(path, "--apply")
    assert effects(again) == (0, 0, 2)
    assert list(Agent.objects.order_by("pk").values()) == before
    assert AuditEvent.objects.count() == 1


OLDER, NEWER = "2024-03-01 10:00:00", "2024-05-01 10:00:00"


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        (
            machine("PC-1", version="a", enrolled_at=OLDER),
            machine("pc-1", version="b", status="uninstalled", uninstalled_at=NEWER),
            "a",
        ),
        (machine("PC-1", version="a", enrolled_at=OLDER), machine(" PC-1 ", version="b", enrolled_at=NEWER), "b"),
        (machine("PC 1", version="a", last_seen_at=NEWER), machine("PC-1", version="b", enrolled_at=OLDER), "a"),
    ],
    ids=["active before newest", "newest of two", "seen last"],
)
@pytest.mark.parametrize("is_turned", [False, True])
def test_of_equal_ids_the_active_else_the_newest_wins(
    tmp_path: Path, first: dict[str, object], second: dict[str, object], winner: str, *, is_turned: bool
) -> None:
    rows = [second, first] if is_turned else [first, second]
    report = import_one(old_database(tmp_path, machine("PC-0"), *rows, machine("PC-2")), "--apply")
    assert Agent.objects.named("pc-1").get().version == winner
    assert effects(report) == (3, 0, 0)
    assert [reason["code"] for reason in report["skipped"]] == ["same_machine"]


def test_changed_ids_are_listed(tmp_path: Path) -> None:
    path = old_database(tmp_path, machine("PC-1"), machine("{ab-cd}"), machine("Poste é 2"), machine(" pc-1"))
    assert {change["from"]: change["to"] for change in import_one(path)["changed_ids"]} == {
        "{ab-cd}": "ab-cd",
        "Poste é 2": "Poste-2",
        " pc-1": "PC-1",
    }


def test_rows_that_cannot_be_read_are_listed_and_the_others_imported(tmp_path: Path) -> None:
    path = old_database(
        tmp_path,
        machine(None),
        machine(" é "),
        machine("PC-3", status="gone"),
        machine("PC-4", enrolled_at="yesterday"),
        machine("PC-5", enrolled_at="2999-01-01"),
        machine("PC-6", enrolled_at=None),
        machine(b"PC-\xe9-7", user_name=b"Zo\xe9"),
        machine("PC-8"),
    )
    status, (file,) = run_import(path, "--apply")
    assert status == 1
    (report,) = file["imports"]
    assert rows_by_code(report["unreadable"]) == {
        "no_machine_id": [1, 2], "unknown_status": [3], "bad_time": [4, 5], "no_time": [6],
    }  # fmt: skip
    assert dict(Agent.objects.values_list("machine_id", "user_name")) == {"PC-7": "Zoé", "PC-8": ""}


def test_times_without_zone_are_in_the_given_zone(tmp_path: Path) -> None:
    path = old_database(tmp_path, machine("PC-1", enrolled_at="2024-07-01 10:00:00"))
    import_one(path, "--apply", "--timezone", "Europe/Paris")
    assert Agent.objects.get().enrolled_at == datetime(2024, 7, 1, 8, tzinfo=UTC)


def test_newer_state_of_the_old_tool_is_taken_over_and_an_older_one_is_not(tmp_path: Path) -> None:
    import_one(old_database(tmp_path, machine("PC-1", version="1", last_seen_at="2024-04-01")), "--apply")
    newer = import_one(old_database(tmp_path, machine("pc-1", version="2", last_seen_at="2024-05-01")), "--apply")
    assert effects(newer) == (0, 1, 0)
    older = import_one(old_database(tmp_path, machine("PC-1", version="1", last_seen_at="2024-04-01")), "--apply")
    assert [reason["code"] for reason in older["skipped"]] == ["known_newer"]
    assert Agent.objects.values_list("machine_id", "version").get() == ("PC-1", "2")


def test_later_uninstallation_of_a_machine_seen_no_more_is_taken_over(tmp_path: Path) -> None:
    seen = {"last_seen_at": "2024-04-01"}
    import_one(old_database(tmp_path, machine("PC-1", **seen)), "--apply")
    gone = machine("PC-1", status="uninstalled", uninstalled_at="2024-05-01", **seen)
    assert effects(import_one(old_database(tmp_path, gone), "--apply")) == (0, 1, 0)
    assert Agent.objects.get().status == "uninstalled"


def test_machine_that_enrols_while_it_is_imported_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_before_it_enrols(names: list[str], *, locks: bool) -> dict[str, Agent]:
        now = timezone.now()
        Agent.objects.create(machine_id="pc-1", version="own", enrolled_at=now, last_seen_at=now)
        return {}

    monkeypatch.setattr("agents.legacy.stored_by_name", look_before_it_enrols)
    import_one(old_database(tmp_path, machine("PC-1", version="old"), machine("PC-2")), "--apply")
    assert dict(Agent.objects.values_list("machine_id", "version")) == {"pc-1": "own", "PC-2": ""}


@pytest.mark.postgresql("SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_machine_cannot_enrol_between_the_look_at_it_and_its_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def lock_it() -> None:
        with contextlib.closing(connections["default"]), transaction.atomic():
            found.append(len(Agent.objects.select_for_update(skip_locked=True)))

    def compare(machine: Agent) -> datetime:
        thread = threading.Thread(target=lock_it)
        thread.start()
        thread.join()
        return machine.last_seen_at

    import_one(old_database(tmp_path, machine("PC-1", last_seen_at="2024-04-01")), "--apply")
    monkeypatch.setattr("agents.legacy.newest_time", compare)
    newer = import_one(old_database(tmp_path, machine("PC-1", last_seen_at="2024-05-01")), "--apply")
    assert effects(newer) == (0, 1, 0)
    assert set(found) == {0}


def test_machine_that_is_enrolled_here_is_left_alone(tmp_path: Path, agent: Agent) -> None:
    issue_agent_token(agent)
    Agent.objects.update(last_seen_at=datetime(2024, 1, 1, tzinfo=UTC), enrolled_at=datetime(2024, 1, 1, tzinfo=UTC))
    before = Agent.objects.values().get()
    report = import_one(old_database(tmp_path, machine(agent.machine_id.lower(), version="9")), "--apply")
    assert [reason["code"] for reason in report["skipped"]] == ["enrolled"]
    assert Agent.objects.values().get() == before


def test_imported_machine_enrols_again_once_allowed_and_keeps_its_row(
    tmp_path: Path, enroll_token: str, call: Call
) -> None:
    import_one(old_database(tmp_path, machine("PC-1", user_name="Zoé")), "--apply")
    refused = call("POST", "agents/enroll", enroll_token, machine_id="pc-1")
    assert (refused.status_code, refused.json()["code"]) == (409, "agent_already_active")
    Agent.objects.update(reenrolment_until=datetime(2999, 1, 1, tzinfo=UTC))
    assert call("POST", "agents/enroll", enroll_token, machine_id="pc-1").status_code == 201
    assert Agent.objects.values_list("machine_id", "user_name").get() == ("PC-1", "Zoé")
