from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.tests.helpers.portal_process import Portal, database


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    """Yield a prepared portal of its own, whose processes nothing runs."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    with database(directory) as url:
        own = Portal(directory, url, extra={"DJANGO_SETTINGS_MODULE": "portal.settings"})
        done = own.manage("prepare")
        assert done.returncode == 0, done.stderr
        yield own
