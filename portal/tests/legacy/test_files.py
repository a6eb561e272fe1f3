"""Files of older tools: told apart by their content, and read within bounds."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError

from portal.legacy import files, tables
from portal.legacy.errors import UnreadableFile
from portal.legacy.files import open_legacy_file, parse_object
from portal.legacy.registry import BATCH, batched
from portal.legacy.reports import ImportReport
from portal.tests.helpers.legacy_files import (
    effects,
    import_one,
    machine,
    make_database,
    rows_by_code,
    run_import,
    write_lines,
)
from portal.tests.helpers.portal_process import peak_memory

ROWS = 200_000
MOST_MEMORY = 24 * 2**20


def read_all(path: Path) -> list[dict[str, object]]:
    columns = tables.list_tables(path)["enrolled_agents"]
    return [
        values for _number, values in tables.read_table(path, "enrolled_agents", columns, ("machine_id", "version"))
    ]


def old_database(path: Path) -> Path:
    return make_database(path, "enrolled_agents", [machine("PC-1")])


# --- Refused as a whole ----------------------------------------------------------------------------------------------


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(files.MAX_BYTES + 1)


def make_damaged(path: Path) -> None:
    make_database(path, "enrolled_agents", (machine(f"PC-{number}") for number in range(2_000)))
    content = bytearray(path.read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)
    path.write_bytes(content)


def make_truncated(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(10))


def make_view(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS machine_id FROM n"
        database.execute(f"CREATE VIEW enrolled_agents AS {endless}")


def make_bloated(path: Path) -> None:
    make_database(path, "enrolled_agents", [machine("x" * (tables.MAX_VALUE + 1))])


def make_interrupted(path: Path) -> None:
    """Copy a database, with its journal, in the middle of a write."""
    source = make_database(path.with_name("source"), "enrolled_agents", (machine(str(n)) for n in range(2_000)))
    with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as tool:
        tool.execute("PRAGMA cache_size = 1")
        tool.execute("BEGIN")
        tool.execute("UPDATE enrolled_agents SET version = hex(randomblob(100))")
        shutil.copy(source, path)
        shutil.copy(f"{source}-journal", f"{path}-journal")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "unreadable"),
        (make_directory, "not_a_file"),
        (make_pipe, "not_a_file"),
        (make_huge, "too_large"),
        (make_damaged, "damaged"),
        (make_truncated, "damaged"),
        (make_view, "unrecognized"),
        (make_bloated, "value_too_large"),
        (lambda path: path.write_bytes(gzip.compress(b"{}")), "not_text"),
        (lambda path: path.write_text('{"app_name": "x"}', "utf-16"), "not_text"),
        (lambda path: path.write_text(""), "unrecognized"),
        (lambda path: path.write_text("name,name\n"), "column_twice"),
        (lambda path: path.write_text("," * 300), "too_many_columns"),
        (lambda path: path.write_text("[1, 2]\nhello"), "unrecognized"),
        (lambda path: path.write_bytes(b"agent_id,database_name\rPC-1,x\r"), "not_csv"),
        (lambda path: path.write_text('["' + "x" * 200_000 + '"]'), "not_csv"),
        (make_interrupted, "interrupted"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
@pytest.mark.django_db
def test_file_that_cannot_be_read_is_refused_with_a_code(
    tmp_path: Path, make: Callable[[Path], object], code: str
) -> None:
    make(tmp_path / "file")
    status, (file,) = run_import(tmp_path / "file", "--apply")
    assert (status, file["error"] and file["error"]["code"]) == (1, code)


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "", "Europe"])
def test_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(CommandError, match="--timezone") as refusal:
        run_import("none", "--timezone", zone)
    assert refusal.value.returncode == 2


@pytest.mark.django_db
def test_one_unreadable_file_does_not_keep_the_others_out(tmp_path: Path) -> None:
    status, (missing, other) = run_import(tmp_path / "none", old_database(tmp_path / "b"), "--apply")
    assert (status, missing["imports"], other["imports"][0]["created"]) == (1, [], 1)


# --- SQLite ----------------------------------------------------------------------------------------------------------


def test_locked_database_is_named_and_read_once_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "WAIT_SECONDS", 0)
    path = old_database(tmp_path / "old.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as tool:
        tool.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnreadableFile) as refusal:
            read_all(path)
        assert refusal.value.code == "locked"
        tool.execute("COMMIT")
        assert len(read_all(path)) == 1


def test_rows_in_the_wal_of_a_tool_that_runs_are_read(tmp_path: Path) -> None:
    path = old_database(tmp_path / "old.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as tool:
        tool.execute("PRAGMA journal_mode = WAL")
        tool.execute("INSERT INTO enrolled_agents (machine_id) VALUES ('PC-2')")
        assert len(read_all(path)) == 2


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
@pytest.mark.django_db
def test_database_in_utf_16_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as tool:
        tool.execute(f"PRAGMA encoding = '{encoding}'")
        tool.execute("CREATE TABLE other (id)")
    make_database(path, "enrolled_agents", [machine("Poste é"), machine(b"PC-\xe9"), machine(7)])
    assert [row["machine_id"] for row in read_all(path)] == ["Poste é".encode(), b"PC-\xe9", 7]
    assert effects(import_one(path)) == (3, 0, 0)


@pytest.mark.django_db
def test_table_without_rowid_in_another_case_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as tool, tool:
        tool.execute("CREATE TABLE Enrolled_Agents (Machine_ID TEXT PRIMARY KEY, enrolled_at) WITHOUT ROWID")
        tool.executemany("INSERT INTO Enrolled_Agents VALUES (?, '2024-03-01')", [("PC-1",), ("pc-1",), ("é",)])
    _status, (file,) = run_import(path)
    (report,) = file["imports"]
    assert (effects(report), rows_by_code(report["skipped"])) == ((1, 0, 0), {"same_machine": [3]})
    assert rows_by_code(report["unreadable"]) == {"no_machine_id": [1]}


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_reading_leaves_file_and_folder_as_they_were(tmp_path: Path, journal: str) -> None:
    path = old_database(tmp_path / "a ?#%.db")
    with contextlib.closing(sqlite3.connect(path)) as tool:
        tool.execute(f"PRAGMA journal_mode = {journal}")
    before = path.read_bytes()
    assert read_all(path) == [{"machine_id": b"PC-1", "version": None}]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- Lines -----------------------------------------------------------------------------------------------------------


def test_line_beyond_the_limit_is_skipped_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"a": 1}\n{"b": "' + b"x" * (2 * files.MAX_LINE) + b'"}\r\n{"c": 3}')
    report = ImportReport("")
    assert [row.values for row in open_legacy_file(path).json_rows(report)] == [{"a": 1}, {"c": 3}]
    assert [(reason.code, noted.rows) for reason, noted in report.unreadable.items()] == [("line_too_long", [2])]


def test_quoted_cell_that_is_not_closed_is_named_by_its_first_and_last_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a", ["a,b", '1,"open', *["2,x"] * 300])
    report = ImportReport("")
    assert not list(open_legacy_file(path).csv_rows(report))
    ((reason, noted),) = report.unreadable.items()
    assert (reason.code, noted.rows) == ("not_csv", [2])
    assert "302" in reason.text


def test_comments_and_empty_lines_above_the_header_are_passed_over(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a", ["# exported on 1 March, at 9", "", "a,b", "1,2"])
    assert list(open_legacy_file(path).csv_rows(ImportReport(""))) == [(4, {"a": "1", "b": "2"})]


def test_first_column_may_be_called_by_a_hash(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a", ["#;b", "1;2"])
    assert list(open_legacy_file(path).csv_rows(ImportReport(""))) == [(2, {"#": "1", "b": "2"})]


def test_empty_first_cells_of_a_row_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("sep=\t\na\tb\n\t2\n1\t\n")
    assert [row.values for row in open_legacy_file(path).csv_rows(ImportReport(""))] == [
        {"a": "", "b": "2"},
        {"a": "1", "b": ""},
    ]


def big_database(path: Path) -> Iterator[object]:
    make_database(path, "enrolled_agents", (machine(f"PC-{number}") for number in range(ROWS)))
    columns = tables.list_tables(path)["enrolled_agents"]
    return tables.read_table(path, "enrolled_agents", columns, tuple(columns), "{machine_id}")


def big_spool(path: Path) -> Iterator[object]:
    write_lines(path, ({"app_name": "x", "number": number} for number in range(ROWS)))
    return open_legacy_file(path).json_rows(ImportReport(""))


def big_table(path: Path) -> Iterator[object]:
    write_lines(path, ("agent_id,database_name,status", *(f"PC-{number},x,SUCCESS" for number in range(ROWS))))
    return open_legacy_file(path).csv_rows(ImportReport(""))


def endless_line(path: Path) -> Iterator[object]:
    """Write a line of 256 MiB, most of it zeros that take no space, between the others."""
    write_lines(path, ({"app_name": "x"} for _number in range(ROWS - 1)))
    with path.open("ab") as file:
        file.write(b"{")
        file.truncate(file.tell() + 2**28)
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"app_name": "x"}\n')
    return open_legacy_file(path).json_rows(ImportReport(""))


@pytest.mark.parametrize("make", [big_database, big_spool, big_table, endless_line])
def test_large_file_is_read_in_batches(tmp_path: Path, make: Callable[[Path], Iterator[object]]) -> None:
    rows = make(tmp_path / "big")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = peak_memory(os.getpid())
    sizes = [len(batch) for batch in batched(rows)]
    assert (sum(sizes), max(sizes)) == (ROWS, BATCH)
    assert peak_memory(os.getpid()) - before < MOST_MEMORY


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"a": [1]}', {"a": [1]}),
        (b'{"a": NaN}', None),
        (b'{"a": 1e999}', None),
        (b'{"a": 1, "a": 2}', None),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", None),
        (b'{"a": ' * 100_000, None),
        (b'["a"]', None),
    ],
    ids=["object", "not a number", "infinite", "key twice", "deep", "very deep", "list"],
)
def test_line_is_read_as_strictly_as_a_call_of_the_api(line, found):
    assert parse_object(line) == found
