"""Starts the portal, lets the fleet play, says where to look, and keeps running until it is stopped."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

import requests
from vigie_client import make_session

from demo import backups, beta, restores, services, usage
from demo.beta import Beta
from demo.commands import MANAGE, ROOT, manage
from demo.fleet import Machine, machines, play, try_server_name, use_random_machine
from demo.services import Services
from demo.usage import Workplace

READY_WITHIN_SECONDS = 120
PAUSE_SECONDS = 20
# Pauses between changes of the services: long enough for an incident to open.
TURNS_OF_SERVICES = 3
LOG = "portal.log"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1:8000", metavar="HOST:PORT")
    bind = parser.parse_args().bind
    url = f"http://{bind.replace('0.0.0.0', '127.0.0.1')}"  # noqa: S104 - recognised, not bound
    os.umask(0o077)  # as the portal's processes, or doctor warns of the demo's own files
    # Keep the demo's machines apart from those of an installation.
    data = Path(os.environ.setdefault("VIGIE_DATA_DIR", str(ROOT / "var" / "demo")))
    os.environ.setdefault("PORTAL_URL", url)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    exit_if_taken(bind)
    manage("prepare", "-v0")
    watched = Services(data / "services")
    os.environ.update(watched.settings(os.environ) | usage.settings(data, os.environ))
    with restores.sandbox_settings(data, os.environ) as sandboxes:
        os.environ.update(sandboxes)
        return run_portal(bind, url, data, watched)


def run_portal(bind: str, url: str, data: Path, watched: Services) -> int:
    command = [*MANAGE, "up", "--bind", bind]
    # The portal inherits the read end. Ours closes when this process ends, however it ends, and the portal then stops.
    lifeline, _held = os.pipe()
    environment = os.environ | {"VIGIE_LIFELINE": str(lifeline)}
    with (
        (data / LOG).open("ab") as log,
        subprocess.Popen(command, cwd=ROOT, stderr=log, env=environment, pass_fds=[lifeline]) as portal,
    ):
        try:
            wait_until_ready(url, portal, data / LOG)
            fleet = machines(url, data / "machines")
            application = manage("issue_token", "--kind", "client", "--label", "demo", capture=True)
            people, tested = usage.workplaces(url, application, data / "activity"), Beta(url, data)
            for line in play_scenes(url, data, fleet, watched, people, tested):
                print_lines(line)
            print_where_to_look(url, data, tested)
            return keep_running(portal, fleet, watched, people)
        finally:
            portal.terminate()


def play_scenes(
    url: str, data: Path, fleet: list[Machine], watched: Services, people: list[Workplace], tested: Beta
) -> Iterator[str]:
    token = manage("issue_token", "--kind", "enroll", "--label", "demo", "--expires-in", "1d", capture=True)
    bound = ("--kind", "client", "--label", "gui only", "--app", "gui_v6", "--app", "gui_v7", "--expires-in", "30d")
    manage("issue_token", *bound, capture=True)
    for_server = ("--kind", "enroll", "--machine", backups.BATCH, "--label", backups.BATCH, "--expires-in", "1d")
    own_tokens = {backups.BATCH: manage("issue_token", *for_server, capture=True)}
    staff = ("--kind", "staff", "--user", "operator", "--label", "demo", "--expires-in", "1d")
    staff_token = manage("issue_token", *staff, capture=True)
    password = read_operator_password(data)
    yield from ("", "Machines enrol and report:")
    yield from indent(play(fleet, token, own_tokens))
    yield from ("", "Databases are backed up:")
    yield from indent(backups.play(url, data, fleet, staff_token))
    yield from indent(try_server_name(fleet[0], token))
    yield from ("", "Services are monitored:")
    yield from indent(services.play(url, watched, make_session(staff_token), password))
    yield from ("", "Customers use the applications:")
    yield from indent(usage.play(url, data, people, make_session(staff_token), password))
    yield from ("", "Participants test a beta:")
    yield from indent(beta.play(tested, fleet, people[0].session, make_session(staff_token), password))


def indent(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def read_operator_password(data: Path) -> str:
    """Return the password of the first operator."""
    return (data / "secrets" / "operator_password").read_text().strip()


def exit_if_taken(bind: str) -> None:
    """Exit if the address is taken, before anything is sent to a foreign portal."""
    host, _, port = bind.rpartition(":")
    try:
        socket.create_server((host, int(port))).close()
    except (OSError, ValueError) as error:
        sys.exit(f"Nothing can listen on {bind}: {getattr(error, 'strerror', None) or 'HOST:PORT is expected'}.")


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def print_lines(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def wait_until_ready(url: str, portal: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if portal.poll() is not None:
            sys.exit(f"The portal ended:\n{last_lines(log)}")
        with contextlib.suppress(requests.RequestException):  # not listening yet
            if requests.get(f"{url}/readyz", timeout=5).ok:
                return
        time.sleep(0.3)
    sys.exit(f"The portal did not become ready:\n{last_lines(log)}")


def last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def print_where_to_look(url: str, data: Path, tested: Beta) -> None:
    print_lines(
        "",
        "Look here:",
        f"  {url}/admin/                 the portal; operator / {read_operator_password(data)}",
        f"  {url}/admin/agents/agent/    the machines",
        f"  {url}/admin/usage/run/       their runs",
        f"  {url}/admin/usage/run/dashboard/    usage over time, by day and by customer",
        f"  {url}/admin/usage/licence/    licences, their quotas and forecasts",
        f"  {url}/admin/usage/guardianreport/    usage digests: active users, features, errors",
        f"  {usage.mail_folder(data)}    the same digests as mails",
        f"  {url}/admin/backups/expectedbackupjob/    expected backups: which databases are protected",
        f"  {url}/admin/backups/restoredrill/    restore drills: which backups came back, and which did not",
        f"  {url}/admin/monitoring/target/    targets: status, uptime and response times",
        f"  {url}/admin/monitoring/incident/    incidents: status, assignee and root cause",
        *tested.where_to_look(),
        f"  {url}/admin/beta/betafeedback/    feedback of its participants",
        f"  {url}/api/docs/              the API",
        f"  {url}/readyz                 readiness check",
        f"  {data / LOG}    the log",
        "",
        "The portal, the machines and the services keep running. Press Ctrl-C to stop.",
    )


def keep_running(
    portal: subprocess.Popen[bytes], fleet: list[Machine], watched: Services, people: list[Workplace]
) -> int:
    rng, turns = random.Random(), itertools.count(1)  # noqa: S311 - a play, not a secret
    while True:
        try:
            return portal.wait(timeout=PAUSE_SECONDS)
        except subprocess.TimeoutExpired:
            use_random_machine(fleet, rng)
            usage.live(people, rng)
            if next(turns) % TURNS_OF_SERVICES == 0:
                watched.live(rng)


if __name__ == "__main__":
    sys.exit(main())
