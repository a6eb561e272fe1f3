"""VIGIE_TELEMETRY=off stops runs, activity and feedback, but not enrolment, heartbeats and deposits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vigie_client import (
    ActivityTracker,
    Credentials,
    TokenStore,
    UsageTelemetryClient,
    build_usage_payload,
    enroll,
    flush_spool,
    make_session,
    new_run_id,
    send_heartbeat,
    spool_payload,
)
from vigie_client.cli import main

OFF = ["off", "OFF", " Off ", "0", "false", "False", "no", "NO"]
ON = ["on", "1", "true", "yes", "", "of", "none"]
REPORTING = ("--app-name", "gui", "--app-version", "6.0.3")


class Counting:
    """A foreign client."""

    calls = 0

    def report(self, _: Any) -> bool:
        self.calls += 1
        return True


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIE_TELEMETRY", "off")


@pytest.mark.parametrize("word", OFF)
def test_opt_out_writes_and_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, portal: Any, client: Any, token: str, spool: Path, run: Any, word: str
) -> None:
    monkeypatch.setenv("VIGIE_TELEMETRY", word)
    payload = build_usage_payload(run_id=new_run_id(), app_name="gui", app_version="1")
    assert spool_payload(spool, payload) is False
    assert flush_spool(spool, client, force=True) == 0
    assert client.report(payload) is False
    assert client.report_batch([payload]).whole.code == "telemetry_off"
    with ActivityTracker(portal.url, make_session(token), "bob@example.org", spool_path=spool) as tracker:
        with tracker.feature("export"):
            pass
        tracker.error("x")
        assert tracker.flush(force=True) == 0
    assert list(spool.parent.iterdir()) == []
    assert portal.requests == []


@pytest.mark.parametrize("word", ON)
def test_any_other_value_does_not_opt_out(
    monkeypatch: pytest.MonkeyPatch, portal: Any, client: Any, spool: Path, run: Any, word: str
) -> None:
    monkeypatch.setenv("VIGIE_TELEMETRY", word)
    assert spool_payload(spool, run("a"))
    assert flush_spool(spool, client) == 1


def test_spooled_runs_are_kept_during_an_opt_out(
    monkeypatch: pytest.MonkeyPatch, portal: Any, client: Any, spool: Path, fill: Any
) -> None:
    fill("a", "b")
    before = {path.name: path.read_bytes() for path in spool.parent.iterdir()}
    foreign = Counting()
    with monkeypatch.context() as meanwhile:
        meanwhile.setenv("VIGIE_TELEMETRY", "off")
        assert [flush_spool(spool, each, force=True) for each in (client, foreign)] == [0, 0]
        assert {path.name: path.read_bytes() for path in spool.parent.iterdir()} == before
    assert (portal.requests, foreign.calls) == ([], 0)
    assert flush_spool(spool, client) == 2


def test_opt_out_logs_nothing(off: None, client: Any, spool: Path, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    spool_payload(spool, run("a"))
    client.report(run("a"))
    flush_spool(spool, client)
    assert caplog.messages == []


def test_enrolment_and_heartbeats_ignore_the_opt_out(
    off: None, portal: Any, answer: Any, token: str, tmp_path: Path
) -> None:
    enrolled = {"status": "enrolled", "machine_id": "pc", "api_token": token}
    portal.answer_with("/api/v1/agents/enroll", answer(201, enrolled))
    portal.answer_with("/api/v1/agents/heartbeat", answer(200, {"next_heartbeat_seconds": 312}))
    enroll(portal.url, token, "pc", store=TokenStore(tmp_path / "state"))
    assert send_heartbeat(portal.url, make_session(token)) == 312.0
    assert TokenStore(tmp_path / "state").load() == Credentials("pc", token)


def test_deposits_ignore_the_opt_out(off: None, deposits: Any, tmp_path: Path) -> None:
    from vigie_client import Dump  # noqa: PLC0415 - once the path is set

    (tmp_path / "dump.sql").write_text("select 1;")
    assert deposits.deposit(Dump("compta_db", file=tmp_path / "dump.sql")).status == "deposited"


@pytest.mark.parametrize("arguments", [("report", *REPORTING, "a.png"), ("flush",), ("flush", "--force")])
def test_commands_print_the_opt_out_and_do_nothing(
    off: None, portal: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    state = tmp_path / "state"
    assert main([arguments[0], "--server", portal.url, "--state-dir", str(state), *arguments[1:]]) == 0
    assert json.loads(capsys.readouterr().out) == {"telemetry": "off", "delivered": 0, "quarantined": 0}
    assert not state.exists()
    assert portal.requests == []


def test_client_sends_nothing_during_an_opt_out(off: None, portal: Any, token: str, run: Any) -> None:
    assert UsageTelemetryClient(portal.url, make_session(token)).send(run("a")).keeps_item
    assert portal.requests == []
