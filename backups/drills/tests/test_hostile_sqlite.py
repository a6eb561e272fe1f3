"""Dumps of SQLite that try to leave the sandbox, never to end, or to fill memory and disk."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from backups.drills import child, sqlite
from backups.drills.assertions import Assertion
from backups.drills.limits import DISK_IS_FULL, OUT_OF_MEMORY, TIME_IS_UP
from backups.drills.outcomes import FAILED, PROVEN, Outcome, Why, shorten_reason
from backups.drills.sqlite import UNKNOWN_STATEMENT
from backups.drills.tests.dumps import reasons_of
from backups.reasons import format_error

pytestmark = [pytest.mark.one_database("drills have a database of their own")]
HEAD = b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE a(i INTEGER PRIMARY KEY, t);\n"
HEAD += b"INSERT INTO a VALUES(1,'Anna');\n"
END = b"\nCOMMIT;\n"
ENDLESS = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r)"
DENIED = "{}: not authorized"

# What follows an honest table, and the last error, or none for what has no effect outside. OUT is a path.
HOSTILE: dict[str, tuple[str, Why]] = {
    "attach": ("ATTACH 'OUT' AS x;", DENIED.format("ATTACH")),
    "attach and write": ("ATTACH 'OUT' AS x; CREATE TABLE x.t(i);", "CREATE: unknown database x"),
    "attach after the transaction": ("COMMIT; ATTACH 'OUT' AS x;", DENIED.format("ATTACH")),
    "attach memory": ("ATTACH ':memory:' AS x;", DENIED.format("ATTACH")),
    "attach by an expression": ("ATTACH (SELECT 'O' || 'UT') AS x;", DENIED.format("ATTACH")),
    "detach": ("DETACH main;", DENIED.format("DETACH")),
    "vacuum into": ("VACUUM INTO 'OUT';", "VACUUM: cannot VACUUM from within a transaction"),
    "extension": ("SELECT load_extension('OUT');", "SELECT: not authorized to use function: load_extension"),
    "read a file": ("INSERT INTO a VALUES(2, readfile('/etc/passwd'));", "INSERT: SQLITE_ERROR"),
    "write a file": ("SELECT writefile('OUT', 'x');", "SELECT: SQLITE_ERROR"),
    "editor": ("SELECT edit('x', 'touch OUT');", "SELECT: SQLITE_ERROR"),
    "tokenizer": ("SELECT fts3_tokenizer('simple', x'00');", "SELECT: not authorized to use function: fts3_tokenizer"),
    "module of files": ("CREATE VIRTUAL TABLE x USING csv(filename='/etc/passwd');", "CREATE: no such module: csv"),
    "module of pages": ("CREATE VIRTUAL TABLE x USING sqlite_dbpage;", "CREATE: no such module: sqlite_dbpage"),
    "shell": (".shell touch OUT\n;", UNKNOWN_STATEMENT),
    "import": (".import /etc/passwd a\n;", UNKNOWN_STATEMENT),
    "folder of temporary files": ("PRAGMA temp_store_directory='/tmp';", DENIED.format("PRAGMA")),
    "journal": ("PRAGMA journal_mode=WAL;", DENIED.format("PRAGMA")),
    "memory limit": ("PRAGMA hard_heap_limit=0;", DENIED.format("PRAGMA")),
    "size limit": ("PRAGMA max_page_count=1073741823;", DENIED.format("PRAGMA")),
    "size of pages": ("PRAGMA page_size=65536;", DENIED.format("PRAGMA")),
    "pragma as a table": ("INSERT INTO a SELECT 2, file FROM pragma_database_list;", "INSERT: not authorized"),
    "page that is none": (
        "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema VALUES('table','x','x',99,'CREATE TABLE x(y)');",
        "SELECT: SQLITE_CORRUPT",
    ),
    "schema of garbage": ("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='garbage';", "SELECT: SQLITE_CORRUPT"),
    "schema without tables": (
        "PRAGMA writable_schema=ON; DELETE FROM sqlite_schema;", {"code": "database_damaged"},
    ),
    "module in the schema": (
        "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema VALUES('table','x','x',0,"
        "'CREATE VIRTUAL TABLE x USING csv(filename=''/etc/passwd'')');", "SELECT: SQLITE_ERROR",
    ),
    "deep expression": (f"SELECT {'(' * 2000}1{')' * 2000};", "SELECT: SQLITE_ERROR"),
    "value of a row": ("INSERT INTO a VALUES(2, hidden);", "INSERT: SQLITE_ERROR"),
    "value as a statement": ("'hidden', 5);", UNKNOWN_STATEMENT),
    "value of a word": ("hidden value);", UNKNOWN_STATEMENT),
    "view without end": (f"CREATE VIEW v AS {ENDLESS} SELECT count(*) FROM r;", ""),
    "empty statements": (";" * 1_000_000, ""),
    "long pattern": (f"SELECT replace(hex(zeroblob(50000)), '0', 'a') LIKE '{'%a' * 2000}b';", ""),
    "wide table": (f"CREATE TABLE b({','.join(f'c{number}' for number in range(1999))});", ""),
}  # fmt: skip
BOUNDED: dict[str, tuple[str, Why]] = {
    "recursion": (f"{ENDLESS} SELECT count(*) FROM r;", TIME_IS_UP),
    "recursion in a trigger": (
        f"CREATE TRIGGER x AFTER INSERT ON a BEGIN INSERT INTO a SELECT NULL, i FROM ({ENDLESS} SELECT i FROM r)"
        " WHERE i < 0; END; INSERT INTO a VALUES (2, '');", TIME_IS_UP,
    ),
    "sorted rows": (f"{ENDLESS} SELECT i, hex(zeroblob(1000)) FROM r ORDER BY 2, 1;", DISK_IS_FULL),
    "long text": (f"{ENDLESS} SELECT group_concat(i) FROM r;", TIME_IS_UP),
    "huge value": ("INSERT INTO a VALUES(2, zeroblob(900000000));", DISK_IS_FULL),
    "rows without end": (f"INSERT INTO a SELECT NULL, zeroblob(9000) FROM ({ENDLESS} SELECT i FROM r);", DISK_IS_FULL),
    "rows without end after a pragma": (
        "PRAGMA max_page_count=1073741823;"
        f" INSERT INTO a SELECT NULL, zeroblob(9000) FROM ({ENDLESS} SELECT i FROM r);", DISK_IS_FULL,
    ),
    "temporary table": (f"CREATE TEMP TABLE b AS {ENDLESS} SELECT i, zeroblob(1000000) FROM r;", DISK_IS_FULL),
    "generated value": (
        "CREATE TABLE b(i, j AS (length(hex(zeroblob(i)))) STORED); INSERT INTO b VALUES(900000000);", OUT_OF_MEMORY,
    ),
}  # fmt: skip


@pytest.fixture
def drill(tmp_path: Path) -> Callable[..., Outcome]:
    """Restore bytes in this process."""
    made = iter(range(9))

    def drill(
        dump: bytes, *assertions: Assertion, name: str = "dump.dump", seconds: float = 60, max_bytes: int = 0
    ) -> Outcome:
        folder = tmp_path / str(next(made))
        folder.mkdir()
        path = folder / name
        path.write_bytes(dump)
        task: dict[str, Any] = {"name": name, "kind": None, "folder": str(folder), "reserve": 0}
        task |= {"seconds": seconds, "max_bytes": max_bytes, "postgres_url": "", "mysql_url": ""}
        task |= {"assertions": [vars(assertion) for assertion in assertions]}
        return child.drill(task | {"descriptor": os.open(path, os.O_RDONLY)})

    return drill


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_dump_is_contained(drill: Any, tmp_path: Path, name: str) -> None:
    statements, error = HOSTILE[name]
    out = tmp_path / "out"
    outcome = drill(HEAD + statements.replace("OUT", str(out)).encode() + END)
    assert outcome.status == (FAILED if error else PROVEN)
    assert reasons_of(outcome)[-1:] == [shorten_reason(error)] * bool(error)
    assert "hidden" not in str(outcome.as_json())
    assert not out.exists()
    assert drill(HEAD + END).status == PROVEN


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDED)
def test_dump_ends_at_a_limit(restore: Any, name: str) -> None:
    statements, error = BOUNDED[name]
    dump = HEAD + statements.encode() + END
    outcome = restore(dump, DRILL_TIMEOUT_SECONDS=2 if error == TIME_IS_UP else 60, DRILL_MAX_BYTES=64 * 1024 * 1024)
    assert outcome.status == FAILED
    assert reasons_of(outcome)[-1] == error
    assert restore(HEAD + END).status == PROVEN


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("DELETE FROM a RETURNING i", "not authorized"),
        ("CREATE TEMP TABLE b AS SELECT 1", "not authorized"),
        ("PRAGMA writable_schema = ON", "not authorized"),
        ("ATTACH 'OUT' AS x", "not authorized"),
        ("VACUUM INTO 'OUT'", "authorization denied"),
        ("SELECT load_extension('OUT')", "not authorized to use function: load_extension"),
        ("SELECT i FROM a; SELECT 1", "You can only execute one statement at a time."),
        (f"{ENDLESS} SELECT count(*) FROM r", "interrupted"),
    ],
)
def test_assertion_cannot_leave_its_query(
    drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, error: str
) -> None:
    monkeypatch.setattr(sqlite, "QUERY_SECONDS", 0.1)
    out = tmp_path / "out"
    outcome = drill(HEAD + END, Assertion("", query.replace("OUT", str(out)), "equal", "1"))
    assert [format_error(found["error"]) for found in outcome.assertions] == [error]
    assert (outcome.status, outcome.rows) == (PROVEN, {"a": 1})
    assert not out.exists()


def test_size_is_bounded_also_between_two_measurements(drill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.Sandbox, "measure", lambda sandbox: 0)
    outcome = drill(HEAD + b"INSERT INTO a VALUES(2, zeroblob(9000000));" + END, max_bytes=8 * 1024 * 1024)
    assert outcome.errors == [{"line": None, **DISK_IS_FULL}]


def pack_twice(content: bytes) -> bytes:
    return gzip.compress(gzip.compress(content))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("dump.gz", gzip.compress),
        (
            "dump.gz",
            lambda content: b"".join(gzip.compress(content[at : at + 999]) for at in range(0, len(content), 999)),
        ),
        ("dump.zst", zstandard.ZstdCompressor().compress),
    ],
    ids=["gzip", "members", "zstd"],
)
def test_packed_dump_is_restored(drill: Any, name: str, pack: Any) -> None:
    assert drill(pack(HEAD + b"-- " + b"x" * 5000 + END), name=name).status == PROVEN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pack"),
    [("dump.gz", gzip.compress), ("dump.zst", zstandard.ZstdCompressor().compress)],
    ids=["gzip", "zstd"],
)
@pytest.mark.parametrize("filling", [b" ", b";", b"-- x\n", b"'"])
def test_bomb_is_bounded(restore: Any, name: str, pack: Any, filling: bytes) -> None:
    size = 40 * 1024 * 1024
    outcome = restore(pack(HEAD + filling * (size // len(filling))), name=name)
    assert outcome.status == FAILED  # it has no end
    assert outcome.errors


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_truncated_archive_is_failed(drill: Any, packed: Any) -> None:
    content = packed(HEAD + os.urandom(5000).hex().join(["INSERT INTO a VALUES(2,'", "');"]).encode() + END)
    name = "dump.gz" if content.startswith(b"\x1f\x8b") else "dump.zst"
    for end in (1, len(content) // 2, 9):
        outcome = drill(content[:-end], name=name)
        assert outcome.status == FAILED
        assert outcome.doubts[0].startswith("truncated_")


def test_archive_in_an_archive_is_no_dump(drill: Any) -> None:
    assert drill(pack_twice(HEAD + END), name="dump.gz").status == FAILED


@pytest.mark.parametrize("end", [b"", b"\nROLLBACK;\n", b"\nCOMMI", b"\n-- COMMIT;\n"])
def test_dump_without_its_end_is_failed(drill: Any, end: bytes) -> None:
    outcome = drill(HEAD + end)
    assert (outcome.status, outcome.doubts) == (FAILED, ["incomplete"])


def test_error_of_integrity_is_found(drill: Any) -> None:
    statements = (
        b"CREATE INDEX x ON a(t); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX x ON a(i)'"
    )
    outcome = drill(HEAD + statements + b" WHERE name = 'x';" + END)
    assert outcome.status == FAILED
