"""The portal and the database of the experiments, and how to kill and restart them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from django.db import DatabaseError, close_old_connections

from bench.figures import Figure, show
from faults.load import Service, Telegram, serve_in_thread
from faults.postgres import Postgres
from portal.tests.helpers.portal_process import Portal

# A new host name and process table, like a new container.
CONTAINER = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
CONTAINER += ['hostname "$0"; exec "$@"']


@dataclass
class Stage:
    """The portal under test with its database, and the services that it calls."""

    directory: Path
    portal: Portal
    database: Postgres | None
    telegram: Telegram
    service: Service
    service_url: str
    is_whole: bool

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.portal.port}"

    def node(self, name: str) -> Portal:
        """Return another node on the same database."""
        folder = self.directory / name / "data"
        folder.mkdir(parents=True)
        extra = {**self.portal.extra}
        return Portal(folder, self.portal.database_url, extra=extra, prefix=container(name))


def container(name: str) -> list[str]:
    return [*CONTAINER, name]


def has_containers() -> bool:
    command = [*container("trial"), "true"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@contextlib.contextmanager
def stage(directory: Path, url: str, server: Postgres | None, *, is_whole: bool) -> Iterator[Stage]:
    telegram, service = Telegram(), Service()
    with serve_in_thread(telegram.handler()) as bot, serve_in_thread(service.handler()) as watched:
        extra = {"TELEGRAM_API_BASE": bot}
        portal = Portal(directory / "data", url, extra=extra)
        try:
            yield Stage(directory, portal, server, telegram, service, watched, is_whole)
        finally:
            portal.clean_up()


def print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def expect_zero(name: str, value: float, note: str = "") -> Figure:
    """Report a figure that must be 0."""
    return show(Figure(name, value, 0, at_least=False, note=note))


def expect_at_most(name: str, value: float, limit: float, unit: str = "s", note: str = "") -> Figure:
    return show(Figure(name, value, limit, at_least=False, unit=unit, note=note))


def expect_at_least(name: str, value: float, limit: float, unit: str = "") -> Figure:
    return show(Figure(name, value, limit, at_least=True, unit=unit))


def seconds_until(condition: Callable[[], bool], longest: float) -> float:
    """Return the seconds until the condition holds, at most `longest`. Errors of the database count as False."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < longest:
        try:
            if condition():
                return time.monotonic() - started
        except (DatabaseError, requests.RequestException):
            close_old_connections()
        time.sleep(0.2)
    return passed


# --- Kills -----------------------------------------------------------------------------------------------------------

PARTS = ("web worker", "web", "quick worker", "slow worker", "quick", "slow", "pulse", "supervisor")


def kill(portal: Portal, part: str) -> None:
    """Kill a part by SIGKILL. A supervisor is restarted, as by systemd, and a missing part is ignored."""
    with contextlib.suppress(AssertionError, IndexError, ProcessLookupError):
        portal.process(part).kill()
    if part == "supervisor" and portal.up is not None:
        portal.up.wait()
        portal.spawn()


def kill_node(portal: Portal) -> None:
    """Kill all processes of the node at once."""
    for process in portal.processes():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if portal.up is not None:
        portal.up.wait()
        portal.up = None
