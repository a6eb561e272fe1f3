"""Starting parts of the portal while the database is unreachable."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portal.supervisor import lifeline
from portal.tests.helpers.portal_process import MANAGE
from portal.tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.one_database("its PostgreSQL is never there", despite=("Popen",))]

# Nothing listens on the tcpmux port, so PostgreSQL's client fails at once.
AWAY = "postgresql://vigie:secret@127.0.0.1:1/vigie"
COMMANDS = [("cluster", "quick"), ("up", "--bind", "127.0.0.1:1")]


@contextmanager
def started(log: Path, *arguments: str, kept: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Start a part; the descriptor `kept` (its lifeline) stays open in it."""
    environment = os.environ | {"VIGIE_DATA_DIR": str(log.parent), "DATABASE_URL": AWAY}
    if kept is not None:
        environment[lifeline.VARIABLE] = str(kept)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*MANAGE, *arguments], env=environment, stdout=file, stderr=file,
            start_new_session=True, pass_fds=[] if kept is None else [kept],
        )  # fmt: skip
    try:
        wait_for("it says that it waits", lambda: "the database does not answer" in log.read_text())
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("command", COMMANDS)
def test_start_without_database_waits_until_asked_to_end(tmp_path: Path, command: tuple[str, ...]) -> None:
    with started(tmp_path / "log", *command) as process:
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in {0, -signal.SIGTERM}


@pytest.mark.parametrize("command", COMMANDS)
def test_waiting_part_ends_with_what_started_it(tmp_path: Path, command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    with started(tmp_path / "log", *command, kept=reading) as process:
        os.close(reading)
        os.close(writing)
        assert process.wait(20) == 0
