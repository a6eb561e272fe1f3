import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from backups.drills import children, proofs, runs
from backups.drills.outcomes import FAILED, PROVEN
from backups.drills.tests import mysql_factories, test_postgresql
from backups.drills.tests.dumps import sqlite_dump, store
from backups.drills.tests.mysql_factories import make_dump
from backups.drills.tests.test_postgresql import COPY, END, HEAD, TABLE
from backups.models import RestoreDrill
from portal.tests.helpers.waiting import wait_for

# The functions at whose start and end a drill is killed.
STEPS: list[tuple[Any, str]] = [
    (runs, "restore_entry"),
    (children, "lowest_priority"),
    (children, "read_answer"),
    (proofs, "record_outcome"),
    (proofs, "list_losses"),
    (proofs, "plan_next"),
]


def die(*args: object, **given: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*args: Any, **given: Any) -> None:
        function(*args, **given)
        die()

    return dying


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), STEPS, ids=[name for _module, name in STEPS])
def test_drill_that_is_killed_is_run_again_and_leaves_one_record_and_no_file(
    job, elsewhere, module: Any, name: str, is_after: bool
) -> None:
    store(job, sqlite_dump(a=2))

    def drill_until_killed() -> None:
        setattr(module, name, die_after(getattr(module, name)) if is_after else die)
        runs.run_due()

    assert elsewhere(drill_until_killed) == -signal.SIGKILL
    job.refresh_from_db()
    runs.run_due()

    assert [drill.status for drill in RestoreDrill.objects.all()] == [PROVEN]
    assert list(Path(settings.VIGIE_DATA_DIR, "drills").iterdir()) == []
    assert not runs.due(timezone.now()).exists()


# Dumps that take longer than the first report of progress, and what counts the sessions on their server.
SERVERS: dict[str, tuple[str, str, bytes, Callable[[str], list[str]], Callable[[str], int]]] = {
    "postgresql": (
        "postgres_18", "DRILL_POSTGRES_URL", HEAD + TABLE + COPY + b"SELECT pg_sleep(1);\n" + END,
        test_postgresql.leftovers, test_postgresql.count_sessions,
    ),
    "mariadb": (
        "mariadb", "DRILL_MYSQL_URL", make_dump(mysql_factories.TABLE + b"SELECT SLEEP(1);\n"),
        mysql_factories.leftovers, mysql_factories.count_sessions,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.one_database("the records of killed drills are those of SQLite's dumps")
@pytest.mark.parametrize("killed", ["worker", "child"])
@pytest.mark.parametrize("engine", SERVERS)
def test_restore_on_a_server_that_is_killed_is_swept_by_the_next_drill(
    job, elsewhere, request: pytest.FixtureRequest, settings, engine: str, killed: str
) -> None:
    server, setting, dump, leftovers, count_sessions = SERVERS[engine]
    url = request.getfixturevalue(server)
    setattr(settings, setting, url)
    store(job, dump)
    read_answer = children.read_answer

    def kill(child: Any, *given: Any) -> Any:
        child.stdout.readline()
        assert leftovers(url)
        os.kill(os.getpid() if killed == "worker" else child.pid, signal.SIGKILL)
        return read_answer(child, *given)

    def drill_until_killed() -> None:
        children.read_answer = kill  # type: ignore[assignment]
        runs.run_due()

    assert elsewhere(drill_until_killed) == (-signal.SIGKILL if killed == "worker" else 0)
    wait_for("the server has noticed", lambda: not count_sessions(url))
    runs.request_drills([job])
    runs.run_due()

    assert [drill.status for drill in RestoreDrill.objects.order_by("pk")] == [FAILED] * (killed == "child") + [PROVEN]
    assert leftovers(url) == []
    assert list(Path(settings.VIGIE_DATA_DIR, "drills").iterdir()) == []
