"""The portal on its defaults: processes, memory, readiness and CPU time at rest, and memory under calls."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from bench.calls import BATCH, heartbeats, reports, run
from bench.figures import Figure, show
from bench.load import Address, Source, rate, request_bytes
from bench.processes import cpu_seconds, descendants, shared_memory
from bench.server import free_port

MANAGE = [sys.executable, str(Path(__file__).resolve().parent.parent / "manage.py")]
MIB = 1024 * 1024
SETTLE_SECONDS, REST_SECONDS, LOAD_SECONDS = 30.0, 60.0, 10.0


def measure(_address: Address) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="vigie-idle-") as directory:
        own = {"VIGIE_DATA_DIR": directory, "DJANGO_SETTINGS_MODULE": "portal.settings"}
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | own
        manage(environment, "prepare")
        # What this machine takes to load the portal once is what the times are compared with.
        begun = time.monotonic()
        manage(environment, "check")
        start = time.monotonic() - begun
        with started(environment, Path(directory) / "log") as (pid, address, ready):
            note = f"{ready:.1f} s, one command takes {start:.1f} s"
            yield show(Figure("ready / start of one command", ready / start, 3, False, "x", note))
            time.sleep(SETTLE_SECONDS)  # each part has done everything once
            yield from measure_rest(pid)
            yield from measure_load(pid, address, environment)


def measure_rest(pid: int) -> Iterator[Figure]:
    before = cpu_seconds(pid)
    time.sleep(REST_SECONDS)
    percent = 100 * (cpu_seconds(pid) - before) / REST_SECONDS
    yield show(Figure("processes at rest", len(descendants(pid)), 12, False))
    yield show(Figure("memory at rest (PSS)", shared_memory(pid) / MIB, 300, False, "MB"))
    yield show(Figure("CPU time at rest / time", percent, 2, False, "%"))


def measure_load(pid: int, address: Address, environment: dict[str, str]) -> Iterator[Figure]:
    """Send the calls of `bench calls` in turn."""
    app = manage(environment, "issue_token", "--kind", "client", "--label", "bench")
    enrolment = manage(environment, "issue_token", "--kind", "enroll", "--label", "bench")
    url = f"http://{address.host}:{address.port}/api/v1/agents/enroll"
    bearer = {"Authorization": f"Bearer {enrolment}"}
    machine = requests.post(url, json={"machine_id": "PC-1"}, headers=bearer, timeout=60).json()["api_token"]

    def batches(_client: int) -> Iterator[bytes]:
        while True:
            yield request_bytes("POST", "/api/v1/usage/report/batch", app, {"runs": [run() for _ in range(BATCH)]})

    calls: list[tuple[Source, int]] = [(heartbeats(machine), 200), (reports(app), 201), (batches, 200)]
    most = 0
    for source, status in calls:
        rate(address, source, seconds=LOAD_SECONDS, expected=status)
        most = max(most, shared_memory(pid))
    yield show(Figure("memory under calls (PSS)", most / MIB, 450, False, "MB"))


def manage(environment: dict[str, str], *arguments: str) -> str:
    command = [*MANAGE, *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def started(environment: dict[str, str], log: Path) -> Iterator[tuple[int, Address, float]]:
    """Run the portal. Yield its process id, its address and the seconds until it was ready."""
    address = Address("127.0.0.1", free_port())
    command, begun = [*MANAGE, "up", "--bind", f"{address.host}:{address.port}"], time.monotonic()
    with log.open("wb") as lines, subprocess.Popen(command, env=environment, stdout=lines, stderr=lines) as portal:
        try:
            while not is_ready(address):
                time.sleep(0.05)
            yield portal.pid, address, time.monotonic() - begun
        finally:
            portal.terminate()


def is_ready(address: Address) -> bool:
    try:
        return requests.get(f"http://{address.host}:{address.port}/readyz", timeout=60).status_code == 200
    except requests.RequestException:
        return False
