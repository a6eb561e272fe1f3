"""Limits of a drill: how large a restored database may be, and what a watch ends."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backups.drills import child, limits
from backups.drills.limits import DISK_IS_FULL, SPACE_IS_LOW, TIME_IS_UP, Limits
from backups.drills.outcomes import Aborted, Reason, SandboxUnavailable
from backups.drills.streams import DumpStream
from backups.drills.tests import mysql_factories
from backups.drills.tests.test_postgresql import END, HEAD, TABLE
from portal.tests.helpers.waiting import wait_for

pytestmark = pytest.mark.one_database("drills have a database of their own", despite=("threading",))
GIB = 1024 * 1024 * 1024


# --- The largest size ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unpacked", "fixed", "expected"),
    [
        (0, None, GIB),
        (GIB // 10, None, GIB),
        (GIB // 10 + 1, None, GIB // 10 * 10 + 10),
        (3 * GIB, None, 30 * GIB),
        (3 * GIB, 5, 5),
        (0, 2 * GIB, 2 * GIB),
    ],
)
def test_database_may_be_ten_times_as_large_as_the_dump_or_a_gibibyte_unless_set(unpacked, fixed, expected) -> None:
    assert Limits(60, fixed, unpacked=unpacked).max_bytes == expected


def test_size_of_a_packed_dump_is_that_of_its_content_so_far(tmp_path: Path) -> None:
    content = b"BEGIN TRANSACTION;\n" + b"-- comment\n" * 3_000_000
    path = tmp_path / "dump.gz"
    path.write_bytes(gzip.compress(content))
    seen = []
    with path.open("rb", buffering=0) as file:
        stream = DumpStream(file, path.name, Limits(60, None))
        for _piece in stream:
            seen.append(stream.limits.unpacked)

    assert path.stat().st_size < 100_000
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    assert (seen[-1], stream.limits.max_bytes) == (len(content), max(10 * len(content), GIB))


# --- The watch -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKED_EVERY", 0.001)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A disk of 1,000 blocks of 1,000 bytes, all of them free."""
    found = SimpleNamespace(f_blocks=1_000, f_bavail=1_000, f_frsize=1_000)
    monkeypatch.setattr(os, "statvfs", lambda folder: found)
    return found


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_folder_that_grows_beyond_the_limit_is_aborted(tmp_path: Path) -> None:
    folder = tmp_path / "restored"
    folder.mkdir()
    bounds, aborted = Limits(60, 10_000, str(folder)), threading.Event()

    with bounds.watch(lambda: folder_size(folder), aborted.set):
        for number in range(1_000):
            (folder / str(number)).write_bytes(bytes(5_000))
            if aborted.wait(0.01):
                break

    assert (bounds.reached, len(list(folder.iterdir())) > 2) == (DISK_IS_FULL, True)
    with pytest.raises(Aborted):
        bounds.raise_if_reached()


def test_free_space_below_the_reserve_aborts_while_restoring(tmp_path: Path, disk: Any) -> None:
    bounds, aborted, measured = Limits(60, None, str(tmp_path), reserve=500_000), threading.Event(), threading.Event()

    def measure() -> int:
        measured.set()
        return 0

    with bounds.watch(measure, aborted.set):
        disk.f_bavail = 500
        measured.clear()
        assert measured.wait(60)
        assert not aborted.is_set()
        disk.f_bavail = 499
        assert aborted.wait(60)

    assert bounds.reached == SPACE_IS_LOW


def test_store_that_reports_no_blocks_is_never_low(tmp_path: Path, disk: Any) -> None:
    disk.f_blocks = disk.f_bavail = 0

    assert not Limits(60, None, str(tmp_path), reserve=500_000).is_over()


def test_dump_that_is_too_large_is_to_blame_although_space_is_low_too(tmp_path: Path, disk: Any) -> None:
    disk.f_bavail = 0
    bounds, aborted = Limits(60, 10, str(tmp_path), reserve=500_000), threading.Event()

    with bounds.watch(lambda: 11, aborted.set):
        assert aborted.wait(60)

    assert bounds.reached == DISK_IS_FULL


@pytest.mark.parametrize(("seconds", "reached"), [(-1, TIME_IS_UP), (60, None)])
def test_watch_aborts_at_the_end_of_its_time_only(seconds: float, reached: Reason | None) -> None:
    bounds, aborts, sizes = Limits(seconds, 10), [], []

    def measure() -> int:
        sizes.append(10)
        return 10

    with bounds.watch(measure, lambda: aborts.append(1)):
        wait_for("it looked", lambda: len(aborts if reached else sizes) > 2)

    assert bounds.reached == reached
    assert bool(aborts) == (reached is not None)


def test_watch_aborts_again_until_the_block_ends_and_not_after_it() -> None:
    bounds, aborts = Limits(60, 1), []
    before = threading.active_count()

    with bounds.watch(lambda: 2, lambda: aborts.append(1)):
        wait_for("a statement that began after an abort is aborted too", lambda: len(aborts) > 2)

    count = len(aborts)
    assert threading.active_count() == before
    assert len(aborts) == count


def test_watch_ends_with_an_error_of_its_block() -> None:
    before = threading.active_count()

    with pytest.raises(ZeroDivisionError), Limits(60, 1).watch(lambda: 0, lambda: None):
        raise ZeroDivisionError

    assert threading.active_count() == before


# --- Free space while each engine restores ---------------------------------------------------------------------------

ENDLESS = {
    "sqlite": (
        b"BEGIN TRANSACTION;\nCREATE TABLE a (x);\n"
        b"WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT max(i) FROM r;\nCOMMIT;\n"
    ),
    "postgresql": HEAD + TABLE + b"DO $$ BEGIN LOOP NULL; END LOOP; END $$;\n" + END,
    "mariadb": mysql_factories.make_dump(mysql_factories.TABLE + b"SELECT BENCHMARK(1e12, SHA2('x', 512));\n"),
}


@pytest.fixture(params=ENDLESS)
def restoring(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Restore an endless dump in this process, with a reserve of 500,000 bytes."""
    urls = {"postgres_url": "", "mysql_url": ""}
    if request.param == "postgresql":
        urls["postgres_url"] = request.getfixturevalue("postgres_18")
    if request.param == "mariadb":
        urls["mysql_url"] = request.getfixturevalue("mariadb")
    path = tmp_path / "dump.sql"
    path.write_bytes(ENDLESS[request.param])
    task: dict[str, Any] = {"name": path.name, "kind": None, "folder": str(tmp_path), "assertions": []}
    task |= {"seconds": 60, "max_bytes": 0}
    return lambda: child.drill(task | urls | {"descriptor": os.open(path, os.O_RDONLY), "reserve": 500_000})


@pytest.mark.slow
def test_restore_ends_when_space_is_low_which_is_no_fault_of_the_dump(
    restoring: Any, disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(1_000_000))

    def look(folder: str) -> Any:
        if next(looks) == 5:
            disk.f_bavail = 0
        return disk

    monkeypatch.setattr(limits, "CHECKED_EVERY", 0.05)
    monkeypatch.setattr(os, "statvfs", look)

    with pytest.raises(SandboxUnavailable) as unavailable:
        restoring()

    assert (unavailable.value.engine, unavailable.value.why) == ("", SPACE_IS_LOW)
