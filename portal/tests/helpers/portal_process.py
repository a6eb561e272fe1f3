"""A portal that a test starts: real processes with their own data directory and database."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.db import connection, connections

from portal.tests.helpers.waiting import PATIENCE, wait_for

MANAGE = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py")]
# Seconds of `up --patience`: how long a cluster may take no task before it counts as stalled.
STALL_SECONDS = 4
SLOW_WORKERS = 1  # by `portal.tests.supervisor.up.settings`


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    group: int
    name: str

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def reset_peak_memory(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int:
        return peak_memory(self.pid)


def peak_memory(pid: int) -> int:
    """Return the peak memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def read(pid: int, marker: bytes) -> Process | None:
    """Return the process if it is alive and has the marker in its environment, else None."""
    with contextlib.suppress(OSError):
        directory = Path(f"/proc/{pid}")
        fields = (directory / "stat").read_text().rpartition(")")[2].split()
        if fields[0] not in "ZX" and marker in (directory / "environ").read_bytes():
            return Process(pid, int(fields[1]), int(fields[2]), (directory / "comm").read_text().strip())
    return None


@dataclass
class Portal:
    """One data directory and database, and the `up` that runs on it: always on the same port, begun by `prefix`.

    `root` holds the code: this one, or that of another version.
    """

    directory: Path
    database_url: str
    port: int = 0
    up: subprocess.Popen[bytes] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    root: Path = Path(settings.BASE_DIR)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "VIGIE_DATA_DIR": str(self.directory),
            "DATABASE_URL": self.database_url,
            "DJANGO_SETTINGS_MODULE": "portal.tests.supervisor.up.settings",
            "WEB_WORKERS": "1",
        }
        return os.environ | own | self.extra

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.root, env=self.environment, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.root / "manage.py"), *arguments]

    def copy_tables(self) -> None:
        """Replace the database by a copy of the test's, since migrating another takes four seconds of CPU.

        The test must have transactions of its own, and no rows yet.
        """
        connections.close_all()
        own = str(connection.settings_dict["NAME"])
        if self.database_url.startswith("sqlite"):
            copy = sqlite3.connect(self.directory / "db.sqlite3")
            with contextlib.closing(sqlite3.connect(own)) as test, contextlib.closing(copy):
                test.backup(copy)
            return
        create_database(urlsplit(self.database_url).path[1:], template=own)

    def start(self) -> None:
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        arguments = ["up", "--bind", f"127.0.0.1:{self.port}", "--patience", str(STALL_SECONDS), "--grace", "30"]
        with open(self.directory / "log", "ab") as log:
            command = [*self.prefix, *self.command(*arguments)]
            self.up = subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Wait until the portal is ready, with heartbeats younger than this call."""
        self.sql("DELETE FROM portal_beat")
        wait_for("the portal is ready", lambda: self.readiness()[0] == 200)

    def readiness(self) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError as error:
            return 0, str(error)

    def processes(self) -> list[Process]:
        """Return all processes of this portal, including orphans, in start order."""
        marker = f"VIGIE_DATA_DIR={self.directory}\0".encode()
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        return [process for pid in pids if (process := read(pid, marker))]

    def supervisor(self) -> Process:
        return self.one(lambda process: self.up is not None and process.pid == self.up.pid)

    def main(self, name: str) -> Process:
        """Return the main process of `web`, `quick`, `slow` or `pulse`."""
        supervisor = self.supervisor().pid
        return self.one(lambda process: process.parent == supervisor and process.name == f"vigie-{name}")

    def children(self, process: Process) -> list[Process]:
        return [other for other in self.processes() if other.parent == process.pid]

    def process(self, part: str) -> Process:
        """Return a main process, or the first of its workers: `quick` or `quick worker`."""
        name, _, worker = part.partition(" ")
        if name == "supervisor":
            return self.supervisor()
        return self.children(self.main(name))[0] if worker else self.main(name)

    def is_complete(self) -> bool:
        """Return whether each part has its workers."""
        wanted = {"web": 1, "quick": settings.QUICK_WORKERS, "slow": SLOW_WORKERS, "pulse": 0}
        return {name: len(self.children(self.main(name))) for name in wanted} == wanted

    def one(self, condition: Callable[[Process], bool]) -> Process:
        return wait_for("the process is there", lambda: [*filter(condition, self.processes())])[0]

    def enqueue(self, *calls: str) -> None:
        """Enqueue tasks; each call is the argument list of `enqueue`."""
        code = "from portal.work.queue import enqueue\n" + "\n".join(f"enqueue({call})" for call in calls)
        assert self.manage("shell", "-v0", "-c", code).returncode == 0

    def sql(self, statement: str) -> list[Any]:
        """Return the rows of a SELECT, an empty list for other statements."""
        if self.database_url.startswith("sqlite"):
            with (
                contextlib.closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"), timeout=20)) as own,
                own,
            ):
                return own.execute(statement).fetchall()
        with psycopg.connect(self.database_url) as other:
            cursor = other.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def clean_up(self) -> None:
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self.up:
            self.up.wait()
            self.up = None


@contextlib.contextmanager
def database(directory: Path) -> Iterator[str]:
    """Yield the URL of a fresh database on the server in DATABASE_URL, else of an SQLite file."""
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        yield f"sqlite:///{directory}/db.sqlite3"
        return
    name = f"vigie_up_{secrets.token_hex(4)}"
    create_database(name)
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        drop_database(name)


def create_database(name: str, template: str = "template1") -> None:
    """Create a database, or replace it, on the server in DATABASE_URL."""
    drop_database(name)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"'.encode())


def drop_database(name: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
