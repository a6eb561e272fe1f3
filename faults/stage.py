"""Where an experiment is played: a portal and its database, and how both are killed and come back."""

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
from faults.load import Service, Telegram, served
from faults.postgres import Postgres
from portal.tests.helpers.portal_process import Portal, Process

# Another host name and another process table, as a container started anew has them.
CONTAINER = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
CONTAINER += ['hostname "$0"; exec "$@"']


@dataclass
class Stage:
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
        """One more node, on the same database."""
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
    with served(telegram.handler()) as bot, served(service.handler()) as watched:
        extra = {"TELEGRAM_API_BASE": bot}
        portal = Portal(directory / "data", url, extra=extra)
        try:
            yield Stage(directory, portal, server, telegram, service, watched, is_whole)
        finally:
            portal.clean_up()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def exactly(name: str, value: float, unit: str = "") -> Figure:
    """A figure that must be nothing."""
    return show(Figure(name, value, 0, at_least=False, unit=unit))


def at_most(name: str, value: float, limit: float, unit: str = "s", note: str = "") -> Figure:
    return show(Figure(name, value, limit, at_least=False, unit=unit, note=note))


def at_least(name: str, value: float, limit: float, unit: str = "") -> Figure:
    return show(Figure(name, value, limit, at_least=True, unit=unit))


def seconds_until(condition: Callable[[], bool], longest: float) -> float:
    """How long it took; as long as it was waited for where it did not come. No database is a no."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < longest:
        try:
            if condition():
                return time.monotonic() - begun
        except (DatabaseError, requests.RequestException):
            close_old_connections()
        time.sleep(0.2)
    return passed


# --- Kills -----------------------------------------------------------------------------------------------------------

PARTS = (
    "web worker", "web", "quick worker", "slow worker", "quick monitor", "slow pusher", "quick sentinel",
    "quick", "slow", "pulse", "supervisor",
)  # fmt: skip


def victim(portal: Portal, part: str) -> Process:
    name, _, child = part.partition(" ")
    if part == "supervisor":
        return portal.supervisor()
    if not child:
        return portal.main(name)
    if name == "web":
        return portal.children(portal.main("web"))[0]
    return portal.sentinel(name) if child == "sentinel" else portal.part(name, child)


def kill(portal: Portal, part: str) -> None:
    """kill -9; a supervisor is started again at once, as systemd does. A part that is not there just now is spared."""
    with contextlib.suppress(AssertionError, IndexError, ProcessLookupError):
        victim(portal, part).kill()
    if part == "supervisor" and portal.up is not None:
        portal.up.wait()
        portal.spawn()


def kill_node(portal: Portal) -> None:
    """All that runs on it, at one moment."""
    for process in portal.processes():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if portal.up is not None:
        portal.up.wait()
        portal.up = None
