"""A temporary MariaDB server of Debian that runs as long as its stdin is open.

    python -m tests.mariadb            prints the address of a fresh server, and stops it when its stdin ends

As with `tests.postgres`, the server ends whatever becomes of whoever asked for it, kill -9 included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

from tests.postgres import announce

USER = "mysql"  # root may not run it, so the user that Debian's package makes does then
# It does not wait for the disk, and needs little memory.
OPTIONS = (
    "--skip-networking",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-fast-shutdown=2",
    "--aria-pagecache-buffer-size=16M",
    "--performance-schema=OFF",
    "--max-connections=50",
)


def is_installed() -> bool:
    return all(
        shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") for name in ("mariadbd", "mariadb-dump")
    )


@contextmanager
def temporary_mariadb() -> Iterator[str]:
    """Yield the address of a fresh server, as DRILL_MYSQL_URL has it, that ends with the block or this process."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.mariadb"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        url = keeper.stdout.readline().strip()
        if not url:
            raise RuntimeError("MariaDB did not start; its log stands above.")
        try:
            yield url
        finally:
            keeper.stdin.close()
            keeper.wait()


def serve() -> None:
    user = None if os.geteuid() else USER
    directory = Path(tempfile.mkdtemp(prefix="vigie-mariadb-"))
    directory.chmod(0o755)  # for our connections through its socket
    if user:
        shutil.chown(directory, user)
    options: Any = {"user": user, "stdout": sys.stderr, "cwd": directory}
    data, socket = directory / "data", directory / "socket"
    places = ["--no-defaults", f"--datadir={data}", f"--tmpdir={directory}"]
    try:
        install = ["mariadb-install-db", *places, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, **options | {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL})
        run = [shutil.which("mariadbd") or "/usr/sbin/mariadbd", *places, f"--socket={socket}", *OPTIONS]
        with subprocess.Popen([*run, f"--log-error={directory / 'log'}"], **options) as server:
            try:
                wait_until_open(socket, server, directory / "log")
                announce(f"mysql://root@localhost?unix_socket={socket}")
            finally:
                server.kill()  # nothing of it is needed again
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def wait_until_open(socket: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    while server.poll() is None:
        try:
            pymysql.connect(user="root", unix_socket=str(socket)).close()
        except pymysql.OperationalError:
            time.sleep(0.1)
        else:
            return
    sys.stderr.write(log.read_text(errors="replace"))
    raise RuntimeError("Debian's MariaDB did not start.")


if __name__ == "__main__":
    serve()
