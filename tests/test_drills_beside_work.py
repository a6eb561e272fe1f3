"""A restore drill that hangs delays neither scans nor rounds of checks, with the workers that a portal has by default."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from backups.drills import runs
from backups.drills.tests.dumps import store
from backups.drills.tests.mysql_factories import TABLE, make_dump
from backups.models import BackupEntry, DrillSandbox, ExpectedBackupJob, RestoreDrill, Scan
from backups.scanner import orchestration
from backups.tests.factories import Machine
from monitoring.checks import worker_rounds
from monitoring.models import CheckResult, Target
from portal.tests.helpers.database import own_address
from portal.tests.helpers.portal_process import MANAGE, Portal
from portal.tests.helpers.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database("workers, of which a drill takes one", despite=("transaction=True", "Popen", "threading")),
]


class SilentServer:
    """A server that accepts connections and sends nothing until it is closed."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mysql://drill@127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepted: list[socket.socket] = []
        self.is_used = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                self.accepted.append(self.listener.accept()[0])
                self.is_used.set()

    def close(self) -> None:
        with suppress(OSError):  # closed before
            self.listener.shutdown(socket.SHUT_RDWR)
        for opened in (self.listener, *self.accepted):
            opened.close()


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def silent_server() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.close()


@pytest.fixture
def target() -> Iterator[Target]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        yield Target.objects.create(name="API", url=f"http://127.0.0.1:{server.server_port}/", interval=10)
        server.shutdown()


@pytest.fixture
def workers(silent_server: SilentServer, settings: Any, tmp_path: Path) -> Iterator[None]:
    """Run both clusters on the test's database."""
    folders = {"DEPOSITS_ROOT": tmp_path / "deposits", "VALIDATED_ROOT": tmp_path / "validated"}
    for name, folder in folders.items():
        folder.mkdir()
        setattr(settings, name, folder)
    own = {"DJANGO_SETTINGS_MODULE": "portal.settings", "DRILL_MYSQL_URL": silent_server.url}
    own |= {name: str(folder) for name, folder in folders.items()} | {"SECRET_KEY": str(settings.SECRET_KEY)}
    portal = Portal(tmp_path, own_address(), extra=own)
    started = [subprocess.Popen([*MANAGE, "cluster", name], env=portal.environment) for name in ("quick", "slow")]
    try:
        yield
    finally:
        portal.clean_up()
        for process in started:
            process.wait()


def make_job(database: str, agent: str) -> ExpectedBackupJob:
    at = timezone.now() - timedelta(hours=1)
    return ExpectedBackupJob.objects.create(
        agent_id=agent,
        database_name=database,
        expected_hour_utc=at.hour,
        expected_minute_utc=at.minute,
        watched_since=at - timedelta(hours=1),
        created_at=at - timedelta(hours=1),
        next_drill_at=None,
    )


def test_hanging_drill_delays_neither_scan_nor_round(
    workers: None, silent_server: SilentServer, target: Target, tmp_path: Path
) -> None:
    drilled, scanned = make_job("drilled", "SRV-1"), make_job("scanned", "SRV-2")
    store(drilled, make_dump(TABLE))
    runs.request_drills([drilled])
    assert silent_server.is_used.wait(60)
    began_at = timezone.now()
    runs.request_drills([drilled])  # somebody presses *Restore now* again, which takes no second worker for long

    Machine(tmp_path / "deposits", "SRV-2").deposit(moment=timezone.now(), database="scanned")
    scan = orchestration.request_scan(Scan.Source.API)
    worker_rounds.ensure_watched(timezone.now())

    wait_for("the scan ends", lambda: Scan.objects.filter(pk=scan.pk, finished_at__isnull=False))
    wait_for("the service is checked", lambda: CheckResult.objects.filter(target=target, at__gt=began_at))
    assert BackupEntry.objects.get(job=scanned).status == "SUCCESS"
    drill = RestoreDrill.objects.get(job=drilled)
    assert drill.status == RestoreDrill.Status.RUNNING

    silent_server.close()
    wait_for("the drill ends", lambda: DrillSandbox.objects.filter(engine="mysql"))
    wait_for("the drill requested meanwhile ends", lambda: not RestoreDrill.objects.exists())
