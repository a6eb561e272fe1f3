"""A database outage of half a minute, during which each part of the portal is killed once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.postgres import Postgres, postgres
from faults.stage import PARTS, kill
from portal.tests.helpers.portal_process import Portal
from portal.tests.helpers.waiting import wait_for

pytestmark = pytest.mark.slow

OUTAGE_SECONDS = 30


@pytest.fixture
def server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="vigie-outage-") as directory, postgres(Path(directory) / "data") as server:
        yield server


@pytest.mark.postgresql("a server that could be away")
def test_portal_works_again_after_an_outage_in_which_every_part_was_killed(tmp_path: Path, server: Postgres) -> None:
    portal = Portal(tmp_path, server.url)
    try:
        portal.manage("migrate")
        portal.start()
        portal.enqueue("'up.sleep', 20, cluster='slow'")
        wait_for("the task runs", lambda: portal.sql("SELECT 1 FROM portal_taskattempt WHERE name = 'up.sleep'"))
        server.kill()
        back_at = time.monotonic() + OUTAGE_SECONDS
        for part in PARTS:
            kill(portal, part)
        wait_for("the outage is over", lambda: time.monotonic() >= back_at)
        server.start()
        wait_for("the portal is ready", lambda: portal.readiness()[0] == 200)
        ended = "SELECT error FROM portal_taskattempt WHERE name = 'up.sleep' AND finished_at IS NOT NULL"
        assert wait_for("the task has ended", lambda: portal.sql(ended)) == [("",)]
    finally:
        portal.clean_up()
