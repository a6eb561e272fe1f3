"""Restore what `sqlite3 .dump` and Python's `iterdump` write."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard

from backups.drills.assertions import Assertion
from backups.drills.outcomes import FAILED, PROVEN
from backups.drills.sqlite import cut_chunks
from backups.drills.tests.sqlite_schemas import SCHEMAS
from portal.tests.helpers.programs import require

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have a database of their own")]


def dump_by_shell(path: Path) -> bytes:
    require(shutil.which("sqlite3"), "sqlite3", "sqlite3")
    return subprocess.run(["sqlite3", path, ".dump"], check=True, capture_output=True).stdout


def dump_by_python(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        return "\n".join(database.iterdump()).encode("utf-8", "surrogateescape") + b"\n"


PROGRAMS = {"shell": dump_by_shell, "python": dump_by_python}
# Python's iterdump of that time neither quotes such texts nor makes virtual tables again.
UNABLE = {("python", "odd"), ("python", "virtual")}


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str], Path]:
    def make(schema: str) -> Path:
        path = tmp_path / f"{schema}.sqlite3"
        with closing(sqlite3.connect(path)) as database:
            database.executescript(SCHEMAS[schema])
        return path

    return make


def count_rows(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as database:
        names = database.execute(
            "SELECT name FROM pragma_table_list WHERE type IN ('table', 'virtual') AND schema = 'main'"
        )
        kept = [name for (name,) in names if not name.startswith("sqlite_")]
        return {
            name: database.execute(f"SELECT count(*) FROM {sqlite_quote(name)}").fetchone()[0] for name in kept
        }  # fmt: skip


def sqlite_quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_dump_is_restored_with_all_its_rows(restore_here: Any, source: Any, program: str, schema: str) -> None:
    if (program, schema) in UNABLE:
        return
    path = source(schema)
    outcome = restore_here(PROGRAMS[program](path))
    assert (outcome.status, outcome.errors, outcome.warnings) == (PROVEN, [], [])
    assert outcome.rows == count_rows(path)
    assert outcome.size > 0


@pytest.mark.parametrize(
    ("name", "pack"), [("dump.sql.gz", gzip.compress), ("dump.sql.zst", zstandard.ZstdCompressor().compress)]
)
def test_packed_dump_is_restored(restore_here: Any, source: Any, name: str, pack: Callable[[bytes], bytes]) -> None:
    assert restore_here(pack(dump_by_python(source("chinook"))), name=name).status == PROVEN


@pytest.mark.parametrize("schema", ["chinook", "northwind", "django"])
def test_schema_restores_without_rows(restore_here: Any, source: Any, schema: str) -> None:
    path = source(schema)
    outcome = restore_here(dump_by_python(path))
    kind = {"engine": "sqlite", "version": "", "format": "plain"}
    again = restore_here(outcome.schema.encode(), kind=kind)
    assert again.errors == []
    assert again.rows == dict.fromkeys(count_rows(path), 0)


def test_assertions_see_the_restored_rows(restore_here: Any, source: Any) -> None:
    assertion = Assertion("tracks", 'SELECT count(*) FROM "Track" JOIN Album USING (AlbumId)', "at_least", "2000")
    assert restore_here(dump_by_python(source("chinook")), assertion).assertions[0]["ok"]


def test_reference_to_a_missing_row_is_a_warning(restore_here: Any) -> None:
    outcome = restore_here(
        b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE a (i INTEGER PRIMARY KEY);\n"
        b"CREATE TABLE b (i REFERENCES a);\nINSERT INTO b VALUES(1);\nCOMMIT;\n"
    )
    assert (outcome.status, outcome.warnings) == (PROVEN, [{"code": "foreign_keys_violated", "table": "b"}])


def test_error_of_a_row_names_its_line_and_no_value(restore_here: Any) -> None:
    outcome = restore_here(
        b"BEGIN TRANSACTION;\nCREATE TABLE a (i INTEGER PRIMARY KEY, t);\nINSERT INTO a VALUES(1,'secret');\n"
        b"INSERT INTO a VALUES(1,'secret');\nINSERT INTO a VALUES(2,secret);\nCOMMIT;\n"
    )
    assert outcome.status == FAILED
    assert outcome.errors == [
        {"line": 4, "message": "INSERT: UNIQUE constraint failed: a.i"},
        {"line": 5, "message": "INSERT: SQLITE_ERROR"},
    ]
    assert outcome.rows == {"a": 1}


# --- Scripts that are odd --------------------------------------------------------------------------------------------

ONE_TABLE = b"BEGIN TRANSACTION;\nCREATE TABLE a (x);\nINSERT INTO a VALUES ('secret@mail');\n"


def test_statement_that_fails_after_the_end_of_the_transaction_doubles_no_row(restore_here: Callable[..., Any]) -> None:
    outcome = restore_here(ONE_TABLE + b"COMMIT;\nSELECT nothing;\n")

    assert (outcome.rows, [why["line"] for why in outcome.errors]) == ({"a": 1}, [5])


def test_error_of_a_table_made_of_rows_holds_no_value(restore_here: Callable[..., Any]) -> None:
    outcome = restore_here(ONE_TABLE + b"CREATE TABLE b AS SELECT json_extract('{}', x) FROM a;\nCOMMIT;\n")

    assert outcome.errors == [{"line": 4, "message": "CREATE: SQLITE_ERROR"}]


def test_control_characters_of_later_dumps_are_restored(restore_here: Callable[..., Any]) -> None:
    script = rb"BEGIN TRANSACTION;CREATE TABLE a (x);INSERT INTO a VALUES (unistr('a\u000ab\\c'));COMMIT;"

    outcome = restore_here(script, Assertion("", "SELECT length(x) FROM a", "equal", "5"))

    assert outcome.assertions[0]["ok"]


def test_byte_order_mark_is_no_statement(restore_here: Callable[..., Any]) -> None:
    assert restore_here(b"\xef\xbb\xbf" + ONE_TABLE + b"COMMIT;\n").status == PROVEN


@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_script_is_cut_at_statements_whatever_the_size_of_its_pieces(size: int) -> None:
    script = b"".join(b"INSERT INTO a VALUES ('%s;\n');\n" % (b"x" * 900_000) for _time in range(4))

    chunks = list(cut_chunks(script[start : start + size] for start in range(0, len(script), size)))

    assert b"".join(chunks) == script
    assert all(chunk.endswith(b"');\n") for chunk in chunks)
