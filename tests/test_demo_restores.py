"""The demo's dumps arrive intact, and restore drills show what is wrong with them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from vigie_client import Dump

from backups.drills import runs
from backups.drills.postgresql.cluster import find_binaries
from backups.models import BackupEntry, ExpectedBackupJob, RestoreDrill, Status
from demo import mariadb
from demo.backups import LILLE, PARIS, Servers, play_restores, request_drills
from demo.portal_side.past_backups import CALLS
from demo.restores import BREST, NAMES, TILL, sandbox_settings
from portal.tests.helpers.processes import processes_in
from portal.tests.helpers.programs import require
from portal.tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.one_database("the demo has a SQLite file", despite=("Popen",))]


class Past:
    """Calls the portal's side in this process."""

    def scan(self, at: Any, agent: str) -> None:
        self.call("scan", at.isoformat(), agent)

    def call(self, name: str, *arguments: str) -> None:
        CALLS[name](*arguments)


@pytest.fixture
def sandboxes(settings: Any, tmp_path: Path) -> Iterator[dict[str, str]]:
    with sandbox_settings(tmp_path, {}) as found:
        settings.DRILL_MYSQL_URL = found.get("DRILL_MYSQL_URL", "")
        yield found


@pytest.fixture
def drills(db: None, settings: Any, sandboxes: dict[str, str], tmp_path: Path) -> dict[str, RestoreDrill]:
    """Play the scene, drill what it requests, and return the latest drill of each database."""
    for name in ("deposits", "validated"):
        setattr(settings, f"{name.upper()}_ROOT", tmp_path / name)
        (tmp_path / name).mkdir()
    now = timezone.now().replace(second=0, microsecond=0)
    servers = Servers(tmp_path / "servers", tmp_path / "deposits", now - timedelta(hours=1))
    servers.folder.mkdir()
    for agent, database, company, city, hour, minute in servers.jobs(now):
        fields = {"company_name": company, "city": city, "expected_hour_utc": hour, "expected_minute_utc": minute}
        long_ago = {"created_at": now - timedelta(days=9), "watched_since": now - timedelta(days=9)}
        ExpectedBackupJob.objects.create(agent_id=agent, database_name=database, **fields, **long_ago)
    past: Any = Past()
    for agent, name in ((PARIS, "facturation"), (LILLE, "catalogue")):
        at = servers.expected + timedelta(minutes=3)
        servers.back_up(agent, at, [Dump(name, file=servers.database(name, 2_500))])
        past.scan(at + timedelta(minutes=9), agent)
    play_restores(servers, past)
    request_drills(past)
    runs.run_due()
    return {drill.job.database_name: drill for drill in RestoreDrill.objects.order_by("id")}


def test_drills_show_what_hashes_do_not(drills: dict[str, RestoreDrill], sandboxes: dict[str, str]) -> None:
    assert BackupEntry.objects.filter(job__agent_id=BREST, status=Status.SUCCESS).count() == 2 * len(NAMES)
    assert not ExpectedBackupJob.objects.filter(in_doubt=True).exists()
    [lost] = drills["caisse"].losses
    assert (lost["code"], lost["table"], lost["before"], lost["now"]) == (
        "rows_lost",
        "payment",
        TILL[0][1],
        TILL[1][1],
    )
    assert drills["facturation"].is_proof
    assert [result["ok"] for result in drills["facturation"].assertions] == [True]
    assert [loss["code"] for loss in drills["catalogue"].losses] == ["assertion_false"]
    if find_binaries():
        assert drills["boutique"].rows == {"public.product": 12, "public.sale": 150}
        assert drills["boutique"].is_proof
        assert [error["message"] for error in drills["commandes"].errors] == ["COPY: invalid_text_representation"]
    else:
        assert drills["commandes"].status == RestoreDrill.Status.UNSUPPORTED
    if sandboxes:
        assert drills["site"].rows == {"article": 25, "remark": 90}
        assert drills["site"].is_proof
    else:
        assert [found["code"] for found in drills["site"].warnings] == ["no_mysql_sandbox"]


# --- The server of MariaDB -------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from demo.restores import sandbox_settings
with sandbox_settings(Path(sys.argv[1]), {}) as found:
    print(*found.values(), flush=True)
    sys.stdin.read()
"""


def start_and_kill(folder: Path, killed: str) -> None:
    """Kill a demo, or the process that keeps its server, and wait until no process is left."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("mysql://root@localhost?unix_socket=")
        assert (folder / "mariadb").stat().st_mode & 0o777 == 0o700
        os.kill(demo.pid if killed == "demo" else min(processes_in(folder / "mariadb")), signal.SIGKILL)
        wait_for("no process is left", lambda: not processes_in(folder / "mariadb"))
        demo.kill()


def test_server_ends_with_what_is_killed_and_the_next_one_starts(tmp_path: Path) -> None:
    require(mariadb.is_installed(), "MariaDB", "mariadb-server")
    start_and_kill(tmp_path, "keeper")
    assert (tmp_path / "mariadb" / "socket").exists()

    start_and_kill(tmp_path, "demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["DRILL_MYSQL_URL", "DRILL_MYSQL_URL_FILE"])
def test_server_that_is_given_is_used(tmp_path: Path, given: str) -> None:
    with sandbox_settings(tmp_path, {given: "x"}) as found:
        assert found == {}


def test_machine_without_mariadb_has_no_sandbox_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *given, **options: None)

    with sandbox_settings(tmp_path, {}) as found:
        assert found == {}


def test_server_that_does_not_start_ends_no_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("mariadb-install-db", "mariadbd"):
        (tmp_path / name).write_text("#!/bin/sh\necho it is broken\n")
        (tmp_path / name).chmod(0o700)
    path = f"{tmp_path}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(mariadb, "PATH", path)

    with sandbox_settings(tmp_path / "data", {}) as found:
        assert found == {}

    assert "it is broken" in capfd.readouterr().err
    assert list((tmp_path / "data").iterdir()) == []


def test_server_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mariadb, "START_SECONDS", 0.1)
    (tmp_path / "log").write_text("it hangs")
    with socket.socket(socket.AF_UNIX) as silent, subprocess.Popen(["sleep", "600"]) as server:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        try:
            with pytest.raises(SystemExit, match="it hangs"):
                mariadb.wait_until_open(tmp_path / "socket", server, tmp_path / "log")
        finally:
            server.kill()
