"""Restore dumps of SQLite into a temporary file.

The script runs with an authorizer that allows no other file, no extension and few pragmas. Its deadline is checked by
SQLite's progress handler, its size by `max_page_count`, and that of temporary files from another thread.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from backups.drills import scripts
from backups.drills.limits import DISK_IS_FULL, OUT_OF_MEMORY, Limits
from backups.drills.outcomes import Aborted, Outcome, QueryFailed, Reason, Why
from backups.drills.recognition import DumpKind

PAGE_BYTES = 4096
CHUNK_BYTES = 1024 * 1024
HEAP_BYTES = 512 * 1024 * 1024
# What `.dump` writes, and what has an effect on the file alone.
PRAGMAS = frozenset(
    {
        "foreign_keys", "writable_schema", "user_version", "application_id", "encoding", "auto_vacuum",
        "integrity_check", "foreign_key_check",
    }
)  # fmt: skip
# What the extensions FTS3 and FTS5 read.
READABLE_PRAGMAS = frozenset({"data_version", "page_count", "page_size"})
REFUSED_ACTIONS = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})
# Most calls are about the row of an INSERT.
LIMITED_ACTIONS = REFUSED_ACTIONS | {sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_FUNCTION}
REFUSED_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})
# Tables in which the extensions FTS3, FTS5 and R-Tree keep the content of a virtual table.
SHADOWS = ("config", "content", "data", "docsize", "idx", "node", "parent", "rowid", "segdir", "segments", "stat")
TABLES = (
    "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
)
SCHEMA = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
# Errors about rows that name tables, columns and constraints only. The text of others may hold a value.
HARMLESS = re.compile(
    r"(?:UNIQUE|NOT NULL|CHECK|FOREIGN KEY) constraint failed|no such table: "
    r"|table \S+ has \d+ columns? but \d+ values?|not authorized"
    r"|datatype mismatch|database or disk is full|out of memory|interrupted"
)
# An index may be on an expression.
EVALUATES_ROWS = re.compile(rb"(?i)\A(?:INSERT|REPLACE|UPDATE|DELETE|WITH)\b|\b(?:SELECT|VALUES|INDEX)\b")
UNICODE_ESCAPE = re.compile(r"\\(?:\\|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")
COMMIT = b"\nCOMMIT;"
QUERY_SECONDS = 30
PROGRESS_STEPS = 10_000
VERBS = frozenset(
    {
        "ALTER", "ANALYZE", "ATTACH", "BEGIN", "COMMIT", "CREATE", "DELETE", "DETACH", "DROP", "END", "EXPLAIN",
        "INSERT", "PRAGMA", "REINDEX", "RELEASE", "REPLACE", "ROLLBACK", "SAVEPOINT", "SELECT", "UPDATE", "VACUUM",
        "VALUES", "WITH",
    }
)  # fmt: skip
UNKNOWN_STATEMENT: Reason = {"code": "statement_unknown"}
STARTS_TRANSACTION = re.compile(rb"\s*(?:PRAGMA foreign_keys=OFF;\s*)?BEGIN\b")
TRANSACTION = re.compile(rb"(?i)(?:BEGIN|COMMIT|END)\b[\sA-Z]*;?\Z")
Rows = list[tuple[Any, ...]]


def authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    """Refuse other databases, extensions, and pragmas beyond PRAGMAS: `sqlite3.Connection.set_authorizer`."""
    if action not in LIMITED_ACTIONS:
        return sqlite3.SQLITE_OK
    is_refused = (
        action in REFUSED_ACTIONS
        or (action == sqlite3.SQLITE_PRAGMA and not is_harmless_pragma((first or "").lower(), second))
        or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in REFUSED_FUNCTIONS)
    )
    return sqlite3.SQLITE_DENY if is_refused else sqlite3.SQLITE_OK


def is_harmless_pragma(name: str, value: str | None) -> bool:
    return name in PRAGMAS or (name in READABLE_PRAGMAS and value is None)


def authorize_reading(action: int, first: str | None, second: str | None, *rest: str | None) -> int:
    """Allow queries alone, as an assertion needs them."""
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in REFUSED_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


class Sandbox:
    """One restored database in `folder`, which the caller removes."""

    def __init__(self, folder: Path, kind: DumpKind, limits: Limits) -> None:
        self.kind, self.limits = kind, limits
        self.version = sqlite3.sqlite_version
        self.folder, self.watching = folder, ExitStack()
        self.connection = sqlite3.connect(folder / "restored.sqlite3", isolation_level=None, cached_statements=0)
        self.connection.text_factory = lambda text: text.decode("utf-8", "replace")
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            f"hard_heap_limit = {HEAP_BYTES}",
            "journal_mode = MEMORY",  # a failing chunk is rolled back; nothing need survive the process
            "synchronous = OFF",
            "locking_mode = EXCLUSIVE",
            "temp_store = FILE",  # an index of a large table is sorted there
            "cache_size = -16000",  # trusted_schema stays ON: without it, CHECK (JSON_VALID(...)) fails before 3.41
        ):
            self.query(f"PRAGMA {pragma}")
        self.connection.set_progress_handler(limits.is_over, PROGRESS_STEPS)
        # Dumps by SQLite 3.50 and later write control characters with it.
        self.connection.create_function("unistr", 1, unistr, deterministic=True)
        self.watching.enter_context(limits.watch(self.measure, self.connection.interrupt))

    def close(self) -> None:
        self.watching.close()
        self.connection.close()

    def measure(self) -> int:
        """Return the size of the database and of SQLite's temporary files, which have no name once they are open."""
        size = 0
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if os.readlink(descriptor).startswith(str(self.folder)):
                    size += descriptor.stat().st_size
        return size

    def query(self, sql: str) -> Rows:
        return self.connection.execute(sql).fetchall()

    # --- Restore -----------------------------------------------------------------------------------------------------

    def restore(self, pieces: Iterable[bytes], outcome: Outcome) -> None:
        """Run the script. Raises Aborted at a limit."""
        line = 1
        for chunk in split_commits(cut_chunks(pieces)):
            self.limits.raise_if_reached()
            self.connection.set_authorizer(None)
            self.query(f"PRAGMA max_page_count = {self.limits.max_bytes // PAGE_BYTES}")
            self.connection.set_authorizer(authorize)
            self.run_chunk(chunk, line, outcome)
            line += chunk.count(b"\n")
        if self.connection.in_transaction:
            self.query("COMMIT")

    def run_chunk(self, chunk: bytes, line: int, outcome: Outcome) -> None:
        """Run many statements at once; if one fails, each on its own, which is slow but tells which and why."""
        # `executescript` commits first what is open, and a failing chunk is rolled back.
        begin = "" if line == 1 and STARTS_TRANSACTION.match(chunk) else "BEGIN;"
        try:
            self.connection.executescript(begin + chunk.decode("utf-8"))
        except (sqlite3.Error, MemoryError, ValueError) as error:
            self.raise_if_full(error)
            if self.connection.in_transaction:
                self.query("ROLLBACK")
            self.query("BEGIN")
            self.run_statements(chunk, line, outcome)

    def raise_if_full(self, error: Exception) -> None:
        """Raises Aborted."""
        self.limits.raise_if_reached()
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            raise Aborted(DISK_IS_FULL)

    def run_statements(self, chunk: bytes, line: int, outcome: Outcome) -> None:
        for statement in scripts.Script(iter([chunk]), scripts.SQLITE):
            if TRANSACTION.match(statement.text):
                continue
            try:
                self.connection.execute(str(statement))
            except (sqlite3.Error, MemoryError, ValueError) as error:
                self.raise_if_full(error)
                outcome.fail(describe(error, statement.text), line + statement.line - 1)

    # --- Inspection --------------------------------------------------------------------------------------------------

    def inspect(self, outcome: Outcome) -> None:
        """Count rows, keep the schema, and check the file and its references. Raises Aborted at a limit."""
        try:
            self.query("PRAGMA writable_schema = RESET")  # virtual tables that the script has written into the schema
            for (problem,) in self.query("PRAGMA integrity_check(10)"):
                if problem != "ok":
                    outcome.fail({"code": "database_damaged"})
            for (table,) in self.query('SELECT DISTINCT "table" FROM pragma_foreign_key_check'):
                outcome.warn("foreign_keys_violated", table=table)
            outcome.size = self.query("PRAGMA page_count")[0][0] * PAGE_BYTES
            for (sql,) in self.query(SCHEMA):
                outcome.keep_schema(f"{sql};")
            outcome.rows = self.count_rows()
        except (sqlite3.Error, MemoryError) as error:
            self.limits.raise_if_reached()
            outcome.fail(describe(error, b"SELECT"))

    def count_rows(self) -> dict[str, int]:
        tables = self.query(TABLES)
        virtual = [name for name, sql in tables if sql.upper().startswith("CREATE VIRTUAL TABLE")]
        shadows = {f"{name}_{suffix}" for name in virtual for suffix in SHADOWS}
        names = [name for name, _sql in tables if name not in shadows]
        return {name: self.query(f"SELECT count(*) FROM {quote(name)}")[0][0] for name in names}  # noqa: S608

    def evaluate(self, query: str) -> Rows:
        """Return the first two rows of an assertion's query. Raises QueryFailed."""
        self.connection.set_authorizer(authorize_reading)
        ends_at = time.monotonic() + QUERY_SECONDS
        self.connection.set_progress_handler(
            lambda: self.limits.is_over() or time.monotonic() > ends_at, PROGRESS_STEPS
        )
        try:
            return self.connection.execute(query).fetchmany(2)
        except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError) as error:
            raise QueryFailed(str(error)) from None
        finally:
            self.connection.set_authorizer(authorize)
            self.connection.set_progress_handler(self.limits.is_over, PROGRESS_STEPS)


def cut_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the script in chunks of about CHUNK_BYTES that end with a statement. Raises ScriptTooLong."""
    parts: list[bytes] = []
    size, wanted = 0, CHUNK_BYTES
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size < wanted:
            continue
        text = b"".join(parts)
        end = text.rfind(b";\n") + 2
        if end > 1 and is_complete(text[:end]):
            yield text[:end]
            text, wanted = text[end:], CHUNK_BYTES
        else:
            wanted = 2 * size  # a long text: twice as much is searched next time
        if len(text) > scripts.MAX_STATEMENT_BYTES:
            raise scripts.ScriptTooLong
        parts, size = [text], len(text)
    if rest := b"".join(parts):
        yield rest


def is_complete(script: bytes) -> bool:
    """Return whether the script ends with a statement, and not within a text or a trigger."""
    return sqlite3.complete_statement(script.replace(b"\0", b" ").decode("latin-1"))


def split_commits(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks in parts that end with COMMIT: what is run again if it fails must not have been committed."""
    for chunk in chunks:
        end = chunk.find(COMMIT) + len(COMMIT)
        if end >= len(COMMIT) and is_complete(chunk[:end]):
            yield chunk[:end]
            chunk = chunk[end:]
        if chunk.strip():
            yield chunk


def unistr(text: str) -> str:
    """Return the text of SQLite's function of this name, which older versions lack."""
    return UNICODE_ESCAPE.sub(
        lambda found: chr(int(next(filter(None, found.groups())), 16)) if found[0] != "\\\\" else "\\", text
    )


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def describe(error: Exception, statement: bytes) -> Why:
    """Return what went wrong, without values of rows."""
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    verb = statement.split(None, 1)[0].rstrip(b";").decode("ascii", "replace").upper()
    if verb not in VERBS:  # it may be part of a value, in a script whose quotes are wrong
        return UNKNOWN_STATEMENT
    if not isinstance(error, sqlite3.Error):
        return {"code": "not_utf8", "statement": verb}
    is_harmless = not EVALUATES_ROWS.search(statement) or HARMLESS.match(str(error))
    return f"{verb}: {error if is_harmless else getattr(error, 'sqlite_errorname', type(error).__name__)}"
