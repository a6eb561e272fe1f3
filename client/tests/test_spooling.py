"""Spooling runs to disk."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from vigie_client import spool_payload, spool_stats

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX modes")


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["run_id"] for line in path.read_text().splitlines()]


def test_spool_has_one_json_line_per_run(spool: Path, run: Any) -> None:
    assert spool_payload(spool, run("a", license_ref="é\n"))
    assert spool_payload(str(spool), run("b"))
    assert [json.loads(line) for line in spool.read_text().splitlines()] == [run("a", license_ref="é\n"), run("b")]


def test_missing_folder_is_created(tmp_path: Path, run: Any) -> None:
    assert spool_payload(tmp_path / "new" / "folder" / "spool", run("a"))


@posix_only
def test_only_the_owner_may_read_the_spool(spool: Path, fill: Any) -> None:
    fill("a")
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600


def test_line_after_a_torn_one_is_intact(spool: Path, fill: Any) -> None:
    fill("a")
    with spool.open("a") as file:
        file.write('{"run_id": "to')
    fill("b", "c")
    lines = spool.read_text().splitlines()
    assert [json.loads(line)["run_id"] for line in lines if line != '{"run_id": "to'] == ["a", "b", "c"]


@pytest.mark.parametrize("payload", [{"a": {1}}, {"a": float("nan")}, None, 3, "text", {(): 1}])
def test_payload_that_is_not_json_is_not_spooled(spool: Path, payload: Any) -> None:
    assert spool_payload(spool, payload) is False
    assert not spool.exists()


def test_run_is_synced_before_the_return(spool: Path, fill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(spool.read_bytes())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    fill("a", "b")
    assert spool.read_bytes() in synced


def test_disk_failure_returns_false(tmp_path: Path, run: Any) -> None:
    (tmp_path / "file").write_text("")
    assert spool_payload(tmp_path / "file" / "spool", run("a")) is False


def test_full_disk_leaves_no_partial_line(spool: Path, fill: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("a")
    write = os.write

    def write_half(descriptor: int, data: Any) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, bytes(data)[: len(data) // 2])

    monkeypatch.setattr(os, "write", write_half)
    assert spool_payload(spool, run("b")) is False
    monkeypatch.undo()
    fill("c")
    assert ids_in(spool) == ["a", "c"]


def test_concurrent_threads_lose_no_run(spool: Path, fill: Any) -> None:
    names = [[f"{thread}-{number}" for number in range(25)] for thread in range(8)]
    threads = [threading.Thread(target=fill, args=mine) for mine in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids_in(spool)) == sorted(chain.from_iterable(names))


def test_symlinked_paths_are_one_spool(spool: Path, fill: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("a")
    monkeypatch.chdir(spool.parent)
    assert spool_payload(spool.name, run("b"))
    assert spool_stats(Path("..") / spool.parent.name / spool.name).pending == 2


def test_stats_count_waiting_runs(spool: Path, fill: Any) -> None:
    fill("a", "b")
    stats = spool_stats(spool)
    assert (stats.pending, stats.pending_bytes) == (2, spool.stat().st_size)
    assert (stats.failures, stats.retry_at, stats.quarantined) == (0, None, 0)


def test_stats_of_a_missing_spool_are_zero(tmp_path: Path) -> None:
    assert spool_stats(tmp_path / "nowhere" / "spool").pending == 0
    assert list(tmp_path.iterdir()) == []
