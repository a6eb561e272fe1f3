"""`manage.py prepare`, by real processes on a database of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.tests.helpers.portal_process import MANAGE, Portal, database
from portal.tests.helpers.waiting import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.each_database]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Portal]:
    with database(tmp_path) as url:
        yield Portal(tmp_path, url)


def test_several_nodes_may_prepare_at_once(empty: Portal) -> None:
    """Cover a directory created under another umask, and one that they create themselves."""
    pipe, shared = subprocess.PIPE, empty.directory / "sftp"
    shared.mkdir()
    for path, mode in [(empty.directory, 0o755), (shared, 0o2770)]:
        path.chmod(mode)
    empty.extra["DEPOSITS_ROOT"] = str(shared)
    nodes = [
        subprocess.Popen([*MANAGE, "prepare"], env=empty.environment, stdout=pipe, stderr=pipe, text=True, umask=umask)
        for umask in (0, 0o022)
    ]
    told = [node.communicate(timeout=PATIENCE) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    file = empty.directory / "secrets" / "operator_password"
    printed = f"First operator: operator\nPassword:       {file.read_text()}\n"
    assert sorted(out.partition("Next: ")[0] for out, _ in told) == ["", printed]
    assert all("http://127.0.0.1:8000/admin/" in out for out, _ in told)
    open_to_others = [path for path in [empty.directory, *empty.directory.iterdir()] if path.stat().st_mode & 0o077]
    assert open_to_others == [shared]
    secrets = {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    names = ("encryption_key", "metrics_token", "operator_password", "secret_key", "token_pepper")
    assert secrets == dict.fromkeys(names, 0o600)
    assert empty.sql("SELECT username FROM auth_user WHERE is_superuser") == [("operator",)]
    assert empty.sql(
        "SELECT count(*), count(DISTINCT name) FROM django_q_schedule WHERE name = 'portal.retention'"
    ) == [(1, 1)]
    assert (empty.directory / "static" / "staticfiles.json").exists()
