from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from portal.tests.helpers.portal_process import Portal, database
from portal.tests.helpers.stores import bucket as bucket
from portal.tests.helpers.stores import s3_port as s3_port
from tests.archives.places import Place, portal_at


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "key").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    (folder / "target").mkdir()
    (folder / "a").mkdir()
    with database(folder / "a") as url:
        portal = portal_at(folder / "a", url)
        assert portal.manage("prepare").returncode == 0
        (folder / "a/reports/r.txt").write_text("GO")
        own = Place(portal, folder)
        assert portal.manage(*own.arguments("backup_portal")).returncode == 0
        yield own


@pytest.fixture
def emptied(place: Place, tmp_path: Path) -> Iterator[Portal]:
    with database(tmp_path / "b") as url:
        yield portal_at(tmp_path / "b", url)
