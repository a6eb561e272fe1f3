"""Folders of drills: private, removed however a drill ends, and kept while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backups.drills import children, workspace
from backups.drills.outcomes import FAILED, PROVEN, Outcome
from backups.drills.tests.dumps import sqlite_dump


@pytest.fixture
def root(settings: Any, tmp_path: Path) -> Path:
    settings.VIGIE_DATA_DIR = tmp_path
    return tmp_path / "drills"


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_folder_is_empty_closed_to_others_and_removed_at_the_end(root: Path) -> None:
    with workspace.workspace() as folder:
        assert (folder.parent, list(folder.iterdir())) == (root, [])
        assert [path.stat().st_mode & 0o777 for path in (root, folder)] == [0o700, 0o700]
        (folder / "restored.sqlite3").write_bytes(b"rows")

    assert list(root.iterdir()) == []


def test_folder_is_removed_after_an_error(root: Path) -> None:
    def fail() -> None:
        with workspace.workspace() as folder:
            (folder / "nested").mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert list(root.iterdir()) == []


def test_folder_of_a_killed_process_is_removed_by_the_next_one(root: Path, elsewhere: Any) -> None:
    def work_until_killed() -> None:
        with workspace.workspace() as folder:
            (folder / "restored.sqlite3").write_bytes(b"rows")
            os.kill(os.getpid(), signal.SIGKILL)

    assert elsewhere(work_until_killed) == -signal.SIGKILL
    [left] = root.iterdir()

    with workspace.workspace() as folder:
        assert list(root.iterdir()) == [folder]
        assert left != folder


def test_folder_in_use_is_kept_by_another_process(root: Path, elsewhere: Any) -> None:
    with workspace.workspace() as folder:
        (folder / "restored.sqlite3").write_bytes(b"rows")

        def work() -> None:
            with workspace.workspace() as other:
                assert other != folder
                assert other.exists()

        assert elsewhere(work) == 0
        assert [path.name for path in folder.iterdir()] == ["restored.sqlite3"]


def test_folder_that_is_removed_meanwhile_and_strange_files_are_no_trouble(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, such as a trial of an assertion, ends while this one looks for abandoned folders."""
    (outside := tmp_path / "outside").mkdir()
    (outside / "file").touch()
    (root / "ended").mkdir(parents=True)
    (root / "file").touch()
    (root / "link").symlink_to(outside)
    open_locked = workspace.open_locked

    def opening(folder: Path) -> int:
        if folder.name == "ended":
            folder.rmdir()
        return open_locked(folder)

    monkeypatch.setattr(workspace, "open_locked", opening)

    with workspace.workspace() as folder:
        assert folder.exists()
    assert (outside / "file").exists()


# --- Drills ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dump", "status"), [(sqlite_dump(a=1), PROVEN), (sqlite_dump(a=1)[:-9], FAILED), (b"GO\n", "UNSUPPORTED")]
)
def test_drill_leaves_no_file(restore: Callable[..., Outcome], tmp_path: Path, dump: bytes, status: str) -> None:
    assert restore(dump).status == status
    assert list((tmp_path / "data" / "drills").iterdir()) == []


ENDLESS = (
    b"BEGIN TRANSACTION;\nCREATE TABLE a (x);\nINSERT INTO a VALUES ('Anna');\n"
    b"WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT max(i) FROM r;\nCOMMIT;\n"
)


def test_killed_drill_leaves_no_file(
    restore: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_answer = children.read_answer
    seen: list[str] = []

    def reading(child: subprocess.Popen[str], server: Any, _progress: Any) -> dict[str, Any]:
        def kill(_read: int) -> None:
            [folder] = (tmp_path / "data" / "drills").iterdir()
            seen.extend(path.name for path in folder.iterdir())
            child.kill()

        return read_answer(child, server, kill)

    monkeypatch.setattr(children, "read_answer", reading)

    outcome = restore(ENDLESS)

    assert (outcome.status, outcome.errors[0]["code"]) == (FAILED, "ended_early")
    assert "restored.sqlite3" in seen
    assert list((tmp_path / "data" / "drills").iterdir()) == []
