"""Kill drills of PostgreSQL at any moment: no database, role, process or file is left."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backups.drills import children
from backups.drills.outcomes import FAILED, PROVEN, Outcome
from backups.drills.postgresql import roles
from backups.drills.tests.test_postgresql import COPY, END, HEAD, TABLE, leftovers
from portal.tests.helpers.processes import processes_in
from portal.tests.helpers.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("connection.", "threading")),
]
ENDLESS = HEAD + TABLE + COPY + b"DO $$ BEGIN LOOP NULL; END LOOP; END $$;\n" + END
MOMENTS = 4


@pytest.fixture(params=range(MOMENTS))
def killed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the process of each drill some time after its start. The last is killed when it is busy for sure."""
    seconds = random.Random().uniform(0, 1.5) if request.param < MOMENTS - 1 else 3.0
    run = children.running_child

    @contextmanager
    def killing(task: dict[str, Any], descriptor: int) -> Iterator[Any]:
        with run(task, descriptor) as child:
            timer = threading.Timer(seconds, child.kill)
            if "sweep" not in task:
                timer.start()
            yield child
            timer.cancel()

    monkeypatch.setattr(children, "running_child", killing)


@pytest.mark.usefixtures("killed")
def test_killed_drill_leaves_nothing_on_a_server(restore: Callable[..., Outcome], postgres_18: str) -> None:
    outcome = restore(ENDLESS, DRILL_POSTGRES_URL=postgres_18)
    assert outcome.status == FAILED
    assert outcome.errors == [{"line": None, "code": "ended_early", "how": "SIGKILL"}]
    assert leftovers(postgres_18) == []


@pytest.mark.usefixtures("killed")
def test_killed_drill_leaves_nothing_of_a_private_server(
    restore: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", folder)
        assert restore(ENDLESS, DRILL_POSTGRES_URL="").status == FAILED
        wait_for("no process is left", lambda: not processes_in(Path(folder)))
        wait_for("no file is left", lambda: not list(Path(folder).iterdir()))


def test_killed_run_leaves_nothing_of_a_private_server(
    restore: Callable[..., Outcome],
    start_elsewhere: Callable[[Callable[[], object]], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", folder)
        run = start_elsewhere(lambda: restore(ENDLESS, DRILL_POSTGRES_URL=""))
        wait_for("the server runs", lambda: list(Path(folder).glob("*/.s.PGSQL.*")))
        os.kill(run, signal.SIGKILL)
        os.waitpid(run, 0)
        wait_for("no process is left", lambda: not processes_in(Path(folder)))
        wait_for("no file is left", lambda: not list(Path(folder).iterdir()))


def test_drill_without_a_lock_is_swept_by_the_next(restore: Callable[..., Outcome], postgres_18: str) -> None:
    name = "vigie_drill_0123456789abcdef"
    with psycopg.connect(postgres_18, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}")
        connection.execute(f"CREATE DATABASE {name}_2 OWNER {name}")
    assert restore(HEAD + TABLE + END, DRILL_POSTGRES_URL=postgres_18).status == PROVEN
    assert leftovers(postgres_18) == []


def test_sweep_spares_a_living_drill_and_other_names(postgres_18: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "RELEASE_MS", 1)
    with psycopg.connect(postgres_18, autocommit=True) as connection:
        connection.execute("CREATE ROLE vigie_drill_of_mine")
        living = roles.DrillRole(postgres_18, None)
        try:
            roles.sweep(postgres_18)
            assert sorted(leftovers(postgres_18)) == sorted(
                [living.name, living.name, living.reader, "vigie_drill_of_mine"]
            )
        finally:
            living.close()
        assert leftovers(postgres_18) == ["vigie_drill_of_mine"]
        connection.execute("DROP ROLE vigie_drill_of_mine")
