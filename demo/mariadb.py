"""A MariaDB server that runs as long as its stdin is open, for the demo, the tests and the benchmarks.

    python -m demo.mariadb FOLDER      prints the address of a fresh server in the folder, and removes it at the end

The server runs under a process that waits for the end of a pipe, so it ends whatever becomes of whoever asked for it,
kill -9 included. On Linux the kernel ends it with that process too.
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
from urllib.parse import quote

import pymysql

from demo.keepers import run_keeper

START_SECONDS = 120
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"  # which is not on the PATH of every user
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
    return all(shutil.which(name, path=PATH) for name in ("mariadbd", "mariadb-install-db"))


@contextmanager
def temporary_mariadb(folder: Path | None = None) -> Iterator[str]:
    """Yield the address of a fresh server, as DRILL_MYSQL_URL has it, that ends with the block or this process.

    Its files are in `folder`, whose earlier content is removed, by default in a temporary one. Raises NotStarted.
    """
    folder = (folder or Path(tempfile.mkdtemp(prefix="vigie-mariadb-"))).resolve()
    with run_keeper("MariaDB", "demo.mariadb", str(folder)) as url:
        yield url


# --- The process of the keeper ---------------------------------------------------------------------------------------


def serve(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # left by a keeper that was killed
    folder.mkdir(mode=0o700, parents=True)
    user = [] if os.geteuid() else ["--user=root"]  # its folder is closed to other users
    places = ["--no-defaults", f"--datadir={folder / 'data'}", f"--tmpdir={folder}", *user]
    try:
        install = ["mariadb-install-db", *places, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(
            install,
            check=True,
            timeout=START_SECONDS,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = [shutil.which("mariadbd", path=PATH) or "mariadbd", *places, f"--socket={folder / 'socket'}"]
        run_until_stdin_ends([*end_with_parent(), *server, *OPTIONS], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_with_parent() -> list[str]:
    """Return what runs a command that the kernel ends when its parent ends, where that is installed."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def run_until_stdin_ends(command: list[str], folder: Path) -> None:
    path = folder / "log"
    with path.open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server:
        try:
            wait_until_open(folder / "socket", server, path)
            sys.stdout.write(f"mysql://root@localhost?unix_socket={quote(str(folder / 'socket'))}\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            server.kill()  # nothing of it is needed again


def wait_until_open(socket: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server accepts connections. Exit with its log if it ends, or accepts none in START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            pymysql.connect(user="root", unix_socket=str(socket), ssl_disabled=True, read_timeout=START_SECONDS).close()
        except pymysql.OperationalError:
            time.sleep(0.1)
        else:
            return
    sys.exit(log.read_text(errors="replace"))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
