"""Restore drills of large dumps against each engine's own program, and small drills one after the other.

The servers and programs are Debian's. A part whose programs are missing is left out with a line.
"""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from bench.figures import Figure, show
from bench.load import Address
from bench.processes import status
from demo.mariadb import is_installed, temporary_mariadb
from tests.postgres import debian_binaries, temporary_postgres

# A plain dump of so many rows is about 200 MB.
ROWS, SMALL_ROWS = 1_400_000, 500
ROUNDS = 3
SMALL_DRILLS = 20
LEAST_SPEED, MOST_MB, LEAST_A_MINUTE = 0.8, 100, 100
SAMPLED_EVERY = 0.02
COLUMNS = "id integer PRIMARY KEY, customer integer NOT NULL, note varchar(200), cents bigint, made varchar(40)"
VALUES = "n, n % 9973, {note}, n * 17 % 1000003, '2026-01-01 12:00:00'"
INDEX = "CREATE INDEX invoice_customer ON invoice (customer)"


def measure(address: Address) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="vigie-bench-") as directory:
        folder = Path(directory)
        yield from measure_sqlite(folder)
        if debian_binaries():
            with temporary_postgres(is_durable=False, is_debian=True) as url:
                yield from measure_postgresql(folder, url)
        else:
            print("left out: PostgreSQL is not installed (Debian: apt install postgresql)")
        if is_installed():
            with temporary_mariadb() as url:
                yield from measure_mariadb(folder, url)
        else:
            print("left out: MariaDB is not installed (Debian: apt install mariadb-server)")


# --- SQLite ----------------------------------------------------------------------------------------------------------


def measure_sqlite(folder: Path) -> Iterator[Figure]:
    if shutil.which("sqlite3"):
        dump = dump_sqlite(folder / "large.db", ROWS)
        yield from compare("SQLite", "sqlite3", dump, lambda: timed_sqlite(folder / "peer.db", dump))
        dump.unlink()
    else:
        print("left out: sqlite3 is not installed (Debian: apt install sqlite3)")
    yield small_drills("SQLite", pack(dump_sqlite(folder / "small.db", SMALL_ROWS)))


def dump_sqlite(path: Path, rows: int) -> Path:
    """Return the dump of a new database, as `sqlite3 .dump` writes it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE invoice ({COLUMNS})")
        note = "'customer ' || n || ' ordered ' || hex(randomblob(36))"
        numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})"
        connection.execute(f"{numbers} INSERT INTO invoice SELECT {VALUES.format(note=note)} FROM numbers")
        connection.execute(INDEX)
        connection.commit()
        dump = path.with_suffix(".sql")
        with dump.open("w", encoding="utf-8") as file:
            file.write("PRAGMA foreign_keys=OFF;\n")
            file.writelines(f"{line}\n" for line in connection.iterdump())
    path.unlink()
    return dump


def timed_sqlite(path: Path, dump: Path) -> float:
    with dump.open("rb") as file:
        seconds = timed(["sqlite3", str(path)], stdin=file)
    path.unlink()
    return seconds


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def measure_postgresql(folder: Path, url: str) -> Iterator[Figure]:
    with sandbox(DRILL_POSTGRES_URL=url):
        with source_in_postgresql(url, ROWS) as source:
            plain, custom = folder / "plain.sql", folder / "custom.dump"
            timed(["pg_dump", f"--dbname={source}", f"--file={plain}"])
            timed(["pg_dump", "-Fc", f"--dbname={source}", f"--file={custom}"])
        psql = ["psql", "--quiet", "--no-psqlrc", f"--file={plain}"]
        yield from compare("PostgreSQL", "psql -f", plain, lambda: timed_in_postgresql(url, psql))
        plain.unlink()
        pg_restore = ["pg_restore", str(custom)]
        yield from compare("PostgreSQL -Fc", "pg_restore", custom, lambda: timed_in_postgresql(url, pg_restore))
        custom.unlink()
        with source_in_postgresql(url, SMALL_ROWS) as source:
            small = folder / "small-postgresql.sql"
            timed(["pg_dump", f"--dbname={source}", f"--file={small}"])
        packed = pack(small)
        yield small_drills("PostgreSQL by URL", packed)
    with sandbox(DRILL_POSTGRES_URL=""):
        yield small_drills("PostgreSQL, private server", packed)


@contextmanager
def database_in_postgresql(url: str) -> Iterator[str]:
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("CREATE DATABASE bench TEMPLATE template0")
        try:
            yield url.replace("/postgres?", "/bench?")
        finally:
            server.execute("DROP DATABASE bench")


@contextmanager
def source_in_postgresql(url: str, rows: int) -> Iterator[str]:
    note = "'customer ' || n || ' ordered ' || md5(n::text) || md5((n + 1)::text) || left(md5((n + 2)::text), 8)"
    with database_in_postgresql(url) as source:
        with psycopg.connect(source) as connection:
            run: Callable[[str], Any] = connection.execute
            run(f"CREATE TABLE invoice ({COLUMNS})")
            run(f"INSERT INTO invoice SELECT {VALUES.format(note=note)} FROM generate_series(1, {rows}) n")
            run(INDEX)
        yield source


def timed_in_postgresql(url: str, command: list[str]) -> float:
    with database_in_postgresql(url) as database:
        return timed([command[0], f"--dbname={database}", *command[1:]])


# --- MariaDB ---------------------------------------------------------------------------------------------------------


def measure_mariadb(folder: Path, url: str) -> Iterator[Figure]:
    socket = url.rpartition("unix_socket=")[2]
    login = ["--no-defaults", "--user=root", f"--socket={socket}"]
    with (
        closing(pymysql.connect(user="root", unix_socket=socket, autocommit=True)) as server,
        sandbox(DRILL_MYSQL_URL=url),
    ):
        dump = dump_mariadb(server, login, folder / "mariadb.sql", ROWS)
        yield from compare("MariaDB", "mariadb", dump, lambda: timed_mariadb(server, login, dump))
        dump.unlink()
        yield small_drills("MariaDB", pack(dump_mariadb(server, login, folder / "small-mariadb.sql", SMALL_ROWS)))


def dump_mariadb(server: Any, login: list[str], dump: Path, rows: int) -> Path:
    note = "CONCAT('customer ', n, ' ordered ', MD5(n), MD5(n + 1), LEFT(MD5(n + 2), 8))"
    with database_in_mariadb(server):
        with server.cursor() as cursor:
            cursor.execute(f"CREATE TABLE invoice ({COLUMNS})")
            cursor.execute(
                f"INSERT INTO invoice SELECT {VALUES.format(note=note)} FROM (SELECT seq AS n FROM seq_1_to_{rows}) s"
            )
            cursor.execute(INDEX)
        timed(["mariadb-dump", *login, f"--result-file={dump}", "bench"])
    return dump


@contextmanager
def database_in_mariadb(server: Any) -> Iterator[None]:
    with server.cursor() as cursor:
        cursor.execute("CREATE DATABASE bench")
        cursor.execute("USE bench")
        try:
            yield
        finally:
            cursor.execute("DROP DATABASE bench")


def timed_mariadb(server: Any, login: list[str], dump: Path) -> float:
    with database_in_mariadb(server), dump.open("rb") as file:
        return timed(["mariadb", *login, "bench"], stdin=file)


# --- Any engine ------------------------------------------------------------------------------------------------------


@contextmanager
def sandbox(**addresses: str) -> Iterator[None]:
    from django.test import override_settings  # noqa: PLC0415 - settings exist only once Django is set up

    with override_settings(**addresses):
        yield


def timed(command: list[str], **options: Any) -> float:
    """Run a program with the priority of a drill, and return how long it took."""
    from backups.drills.children import lowest_priority  # noqa: PLC0415 - Django's settings exist by then

    started = time.monotonic()
    subprocess.run([*lowest_priority(), *command], check=True, stdout=subprocess.DEVNULL, **options)
    return time.monotonic() - started


def drill(dump: Path, server: Any = None) -> tuple[float, float]:
    """Restore a dump as a drill does, on the `PrivateServer` of its run, or on one of its own.

    Returns how long the restore took, which is what a program does, and the whole drill with its checks.
    """
    from backups.drills.children import restore_dump  # noqa: PLC0415

    started = time.monotonic()
    with dump.open("rb", buffering=0) as file:
        outcome = restore_dump(file.fileno(), dump.name, server)
    assert outcome.status == "PROVEN", (outcome.errors, outcome.warnings, outcome.doubts)
    return outcome.duration_ms / 1000, time.monotonic() - started


def compare(engine: str, program: str, dump: Path, restore: Callable[[], float]) -> Iterator[Figure]:
    """Yield how fast a drill restores in relation to the program, and its memory."""
    drills, peers, peaks = [], [], []
    for _ in range(ROUNDS):
        peers.append(restore())
        with peak_memory() as peak:
            drills.append(drill(dump))
        peaks.append(peak())
    restores, whole = (min(times) for times in zip(*drills, strict=True))
    note = f"{restores:.1f} s for {dump.stat().st_size / 10**6:.0f} MB, with all checks {whole:.1f} s; "
    note += f"{program}: {min(peers):.1f} s"
    name = f"{engine}: speed of a restore / {program}"
    yield show(Figure(name, min(peers) / restores, LEAST_SPEED, True, "x", note))
    yield show(Figure("peak memory of the process that restores", max(peaks) / 2**20, MOST_MB, False, "MB"))


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Watch the process of a drill during the block; the function then returns its peak memory in bytes."""
    done, peak = threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(SAMPLED_EVERY):
            for process in drill_processes():
                with suppress(OSError, StopIteration):  # it has ended
                    peak = max(peak, status(process, "VmHWM"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: peak
    finally:
        done.set()
        watcher.join()


def drill_processes() -> Iterator[Path]:
    """Yield the children of this process that restore a dump."""
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in path.read_text().split():
            process = Path("/proc", pid)
            with suppress(OSError):
                if b"backups.drills.child" in (process / "cmdline").read_bytes():
                    yield process


def small_drills(sandbox: str, dump: Path) -> Figure:
    from backups.drills.children import PrivateServer  # noqa: PLC0415

    with closing(PrivateServer()) as server:
        drill(dump, server)  # the first one loads modules from the disk, and starts the server
        seconds = sum(drill(dump, server)[1] for _ in range(SMALL_DRILLS))
    rate = 60 * SMALL_DRILLS / seconds
    return show(Figure(f"small drills, {sandbox}", rate, LEAST_A_MINUTE, True, "/min"))


def pack(dump: Path) -> Path:
    packed = dump.with_name(f"{dump.name}.gz")
    packed.write_bytes(gzip.compress(dump.read_bytes()))
    return packed
