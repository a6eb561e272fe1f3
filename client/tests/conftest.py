"""Fixtures: a fake portal, runs to report, databases to deposit, and other programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from client.tests.helpers.portal import Answer, FakePortal, reset_connection
from client.tests.helpers.processes import PATIENCE, SOURCE, start_program

sys.path.insert(0, SOURCE)  # test this tree, not an installed copy

TOKEN = "vigie_agent_AAAAAAAAAAAA_" + "s" * 43 + "_000000"


@pytest.fixture(autouse=True)
def without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncing, which takes most of the time: killed processes lose nothing that they have written."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    fake = FakePortal()
    yield fake
    fake.close()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def token() -> str:
    return TOKEN


@pytest.fixture
def client(portal: FakePortal, token: str) -> Any:
    from vigie_client import UsageTelemetryClient, make_session  # noqa: PLC0415 - once the path is set

    return UsageTelemetryClient(portal.url, make_session(token), timeout=PATIENCE)


@pytest.fixture
def run() -> Callable[..., dict[str, Any]]:
    """Return a factory of runs: `run("a")` has the run id `a`."""

    def make(run_id: str, **more: Any) -> dict[str, Any]:
        return {"run_id": run_id, "app_name": "gui", "app_version": "1.0", "documents": [], **more}

    return make


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.jsonl"


@pytest.fixture
def fill(spool: Path, run: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Return a function that spools one run per id."""
    from vigie_client import spool_payload  # noqa: PLC0415 - once the path is set

    def put(*run_ids: str) -> None:
        for run_id in run_ids:
            assert spool_payload(spool, run(run_id))

    return put


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a Python program which can import vigie_client. Kill it at the end."""
    programs: list[subprocess.Popen[str]] = []

    def start_one(source: str, *arguments: Any) -> subprocess.Popen[str]:
        programs.append(start_program(source, *arguments, folder=tmp_path))
        return programs[-1]

    yield start_one
    for program in programs:
        program.kill()
        program.communicate()


@pytest.fixture
def broken(portal: FakePortal) -> dict[str, Callable[[Any], Any]]:
    """Return handlers that do not answer: `reset` the connection, or `hang` until the end of the test."""
    return {"reset": reset_connection, "hang": lambda _: portal.over.wait()}


class Deposits:
    """A deposit folder, a state directory, and the results of deposits."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "deposits"
        self.state = path / "state"
        self.folder.mkdir(parents=True)

    def deposit(self, *dumps: Any, **more: Any) -> Any:
        """Deposit in the folder as the agent `agent-1`."""
        from vigie_client import DepositFolder, deposit  # noqa: PLC0415 - once the path is set

        options = {"agent_id": "agent-1", "state_dir": self.state, **more}
        return deposit(dumps, options.pop("place", None) or DepositFolder(self.folder), **options)

    def reports(self, agent: str = "agent-1") -> list[dict[str, Any]]:
        """Return the reports in the folder, oldest first."""
        texts = [path.read_text("utf-8") for path in (self.folder / agent / "log").glob("*.json")]
        return sorted((json.loads(text) for text in texts), key=lambda report: str(report["timestamp"]))

    def staged(self, name: str, agent: str = "agent-1") -> Path:
        return self.folder / agent / "database" / name

    def leftovers(self) -> list[str]:
        """Return the names of temporary files and of records."""
        return [path.name for path in self.folder.parent.rglob("*") if path.suffix in (".part", ".record", ".tmp")]


@pytest.fixture
def deposits(tmp_path: Path) -> Deposits:
    return Deposits(tmp_path)
