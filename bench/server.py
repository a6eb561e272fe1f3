"""The portal's web server with two workers on a temporary PostgreSQL."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import django
from django.core.management import call_command

from bench.load import Address, Connection, request_bytes
from portal.base.private_files import create_data_directory
from tests.postgres import debian_binaries, temporary_postgres

SHIPPED = [
    *(sys.executable, "-m", "gunicorn", "-c", "python:portal.supervisor.web", "--workers", "2"),
    *("--bind", "{address}", "--log-level", "warning"),
]


@contextmanager
def portal(command: Sequence[str] = SHIPPED) -> Iterator[Address]:
    """Set Django up in this process on the same database, and serve it; ends with the block."""
    with prepared(), run_server(command) as address:
        yield address


@contextmanager
def prepared() -> Iterator[None]:
    """Set Django up in this process, on a database that ends with the block.

    The server is Debian's where it is installed: it has pg_trgm.
    """
    given = os.environ.get("BENCH_DATABASE_URL")
    database = nullcontext(given) if given else temporary_postgres(is_debian=debian_binaries() is not None)
    with tempfile.TemporaryDirectory(prefix="vigie-bench-") as directory, database as url:
        os.environ.update(DATABASE_URL=url, VIGIE_DATA_DIR=directory, DJANGO_SETTINGS_MODULE="bench.settings")
        django.setup()
        create_data_directory()
        call_command("migrate", verbosity=0)
        # Before a server starts: it looks up then which static files there are.
        call_command("collectstatic", verbosity=0, interactive=False)
        yield


def sign_in_operator(name: str) -> tuple[str, str]:
    """Return a staff token and the key of a session of a new superuser."""
    # Imported late: Django's models exist only once the server's settings do.
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from portal.access.tokens.issuing import issue_token  # noqa: PLC0415

    operator, browser = User.objects.create_superuser(name), Client()
    browser.force_login(operator)
    return issue_token("staff", user=operator, actor="bench")[1], browser.cookies["sessionid"].value


@contextmanager
def settings_module(name: str) -> Iterator[None]:
    """Let servers that start within the block run with other settings."""
    before = os.environ["DJANGO_SETTINGS_MODULE"]
    os.environ["DJANGO_SETTINGS_MODULE"] = name
    try:
        yield
    finally:
        os.environ["DJANGO_SETTINGS_MODULE"] = before


@contextmanager
def run_server(command: Sequence[str]) -> Iterator[Address]:
    """Run the server command, with its listening address in place of `{address}` or `{port}`."""
    address = Address("127.0.0.1", free_port())
    places = {"address": f"{address.host}:{address.port}", "port": str(address.port)}
    with subprocess.Popen([word.format(**places) for word in command]) as server:
        try:
            wait_until_served(address, server)
            yield address
        finally:
            server.terminate()
            server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_served(address: Address, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        try:
            Connection(address).send(request_bytes("GET", "/healthz"))
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server did not come up")
