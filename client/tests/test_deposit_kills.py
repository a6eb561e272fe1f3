"""Kill a deposit at every instant: files with final names are complete, and the next call deletes the others."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Optional

import pytest
from client.tests.helpers.processes import every_instant, fork, was_killed

from vigie_client import DepositFolder, DepositPortal, Dump, Patience, deposit, make_session
from vigie_client.deposits.temporary_files import TemporaryFiles

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and SIGKILL")


def run(stage: Path, word: str, place: Optional[Any] = None) -> Any:
    (stage / "b.sql").write_text(word)
    dumps = [Dump("a", command=["echo", word]), Dump("b", file=stage / "b.sql")]
    return deposit(dumps, place or DepositFolder(stage / "deposits"), agent_id="agent-1", state_dir=stage / "state")


def leftovers(stage: Path) -> list[str]:
    return [path.name for path in stage.rglob("*") if path.suffix in (".part", ".record", ".tmp")]


def reports(stage: Path) -> list[Any]:
    """Return all reports, oldest first. Each must be complete."""
    texts = [path.read_text() for path in (stage / "deposits").rglob("*.json")]
    return sorted((json.loads(text) for text in texts), key=lambda report: str(report["timestamp"]))


def staged(stage: Path, name: str) -> bytes:
    return (stage / "deposits" / "agent-1" / "database" / f"{name}.sql.gz").read_bytes()


def test_killed_deposit_leaves_complete_files_and_no_temporary_ones(tmp_path: Path) -> None:
    def scene(stage: Path, instant: int) -> bool:
        (stage / "deposits").mkdir()
        assert run(stage, "old").status == "deposited"
        killed = was_killed(fork(lambda: run(stage, "new"), instant))
        for name in "ab":
            assert gzip.decompress(staged(stage, name)).strip() in (b"old", b"new")
        found = reports(stage)
        assert 1 <= len(found) <= 2
        if len(found) == 2:  # the report is there: so are the files that it tells of
            for name in "ab":
                claimed = found[1]["databases"][name]["compress_process"]["sha256"]
                assert hashlib.sha256(staged(stage, name)).hexdigest() == claimed
        assert run(stage, "newest").status == "deposited"
        assert leftovers(stage) == []
        assert len(reports(stage)) == len(found) + 1
        assert gzip.decompress(staged(stage, "a")) == b"newest\n"
        return killed

    assert every_instant(tmp_path, scene) > 30


def test_killed_upload_leaves_complete_files_and_no_temporary_ones(tmp_path: Path, portal: Any, token: str) -> None:
    def scene(stage: Path, instant: int) -> bool:
        portal.uploads.clear()
        place = DepositPortal(portal.url, make_session(token), Patience(deadline=9))
        killed = was_killed(fork(lambda: run(stage, "new", place), instant))
        names = [upload.name.split("/")[0] for upload in portal.uploads]
        assert names == ["database", "database", "log"][: len(names)]
        assert all(upload.sha256 == upload.headers["X-Content-SHA256"] for upload in portal.uploads)
        assert run(stage, "newest", place).status == "deposited"
        assert leftovers(stage) == []
        logs = [upload.name for upload in portal.uploads if upload.name.startswith("log")]
        assert len(logs) == len(set(logs))
        return killed

    assert every_instant(tmp_path, scene) > 20


def test_next_call_deletes_temporary_files_of_another_folder(tmp_path: Path) -> None:
    """The temporary file is in a folder that is no longer used."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    def killed_with_a_part() -> None:
        with TemporaryFiles(str(tmp_path / "state" / "deposits")) as temporaries:
            temporaries.create(str(tmp_path / "one" / "a"), 0o600)
            os.kill(os.getpid(), 9)

    assert was_killed(fork(killed_with_a_part, 10**6))
    assert [name.endswith(".part") for name in leftovers(tmp_path / "one")] == [True]
    deposit([Dump("a", command="echo a")], DepositFolder(tmp_path / "two"), agent_id="a", state_dir=tmp_path / "state")
    assert leftovers(tmp_path) == []


def test_temporary_files_on_an_unmounted_share_are_deleted_later(tmp_path: Path) -> None:
    share, away = tmp_path / "share", tmp_path / "away"
    share.mkdir()

    def killed_with_a_part() -> None:
        with TemporaryFiles(str(tmp_path / "state")) as temporaries:
            temporaries.create(str(share / "a"), 0o600)
            os.kill(os.getpid(), 9)

    assert was_killed(fork(killed_with_a_part, 10**6))
    share.rename(away)
    with TemporaryFiles(str(tmp_path / "state")):
        pass
    away.rename(share)
    with TemporaryFiles(str(tmp_path / "state")):
        pass
    assert leftovers(tmp_path) == []


def test_temporary_files_of_a_living_call_are_kept(tmp_path: Path) -> None:
    with TemporaryFiles(str(tmp_path / "state")) as living:
        part, descriptor = living.create(str(tmp_path / "a"), 0o600)
        os.close(descriptor)
        with TemporaryFiles(str(tmp_path / "state")):
            pass
        assert os.path.exists(part)
    assert leftovers(tmp_path) == []


def test_torn_record_is_ignored(tmp_path: Path) -> None:
    precious, torn = tmp_path / "precious", tmp_path / "torn.part"
    for path in (precious, torn):
        path.write_text("x")
    (tmp_path / "dead.record").write_text(f'"{precious}"\n[1]\n"{torn}"\n"{tmp_path}/other.pa')
    with TemporaryFiles(str(tmp_path)):
        pass
    assert precious.exists()
    assert leftovers(tmp_path) == []
