"""Tables of SQLite databases of older tools, opened for reading only.

Such a database may still be in use, damaged, or made to do harm: only real tables are read, and no function, view or
trigger of its own runs.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from portal.legacy.errors import UnreadableFile

MAGIC = b"SQLite format 3\0"
# Seconds to wait for a tool that is writing.
WAIT_SECONDS = 5
MAX_VALUE, MAX_COLUMNS = 2 * 2**20, 200
FETCHED = 500

# The names of a table's columns as written, by their names in lower case.
Columns = Mapping[str, str]


def list_tables(path: Path) -> dict[str, Columns]:
    """Return the columns of each table by its name in lower case. Raises UnreadableFile."""
    with open_database(path) as database:
        names = [name for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE TABLE%' LIMIT 1000"
        )]  # fmt: skip
        return {name.lower(): list_columns(database, name) for name in names}


def list_columns(database: sqlite3.Connection, table: str) -> Columns:
    rows = database.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchmany(MAX_COLUMNS)
    return {name.lower(): name for (name,) in rows}


def read_table(
    path: Path,
    table: str,
    columns: Columns,
    wanted: tuple[str, ...],
    order: str = "{rowid}",
    functions: Mapping[str, tuple[int, Callable[..., Any]]] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with their rowid, or counted without one; a column that the table lacks is None.

    Texts are bytes, since a table may hold them in any encoding. `order` is SQL that names columns in braces, such as
    `{machine_id}`, and may call the `functions`, which are given by name with their number of arguments. SQLite sorts
    on disk what is too large for its memory. Raises UnreadableFile.
    """
    named = {name: quote_name(columns[name]) if name in columns else "NULL" for name in wanted}
    with open_database(path) as database:
        named["rowid"] = "rowid" if has_rowid(database, table) else "NULL"
        chosen = ", ".join(named.values())
        query = f"SELECT {chosen} FROM {quote_name(table)} ORDER BY {order.format(**named)}"  # noqa: S608 - quoted
        (encoding,) = database.execute("PRAGMA encoding").fetchone()
        for name, (arguments, function) in (functions or {}).items():
            database.create_function(name, arguments, in_utf_8(function, encoding), deterministic=True)
        database.text_factory = bytes
        count = 0
        with closing(database.execute(query)) as cursor:
            while rows := cursor.fetchmany(FETCHED):
                for *values, rowid in rows:
                    count += 1
                    yield count if rowid is None else rowid, dict(zip(wanted, values, strict=True))


def has_rowid(database: sqlite3.Connection, table: str) -> bool:
    """Return False for a table that was made WITHOUT ROWID."""
    try:
        database.execute(f"SELECT rowid FROM {quote_name(table)} LIMIT 0")  # noqa: S608 - quoted
    except sqlite3.OperationalError as error:
        if "no such column" in str(error):
            return False
        raise
    return True


def in_utf_8(function: Callable[..., Any], encoding: str) -> Callable[..., Any]:
    """Return the function for texts as bytes in this encoding: SQLite gives those of a UTF-16 database as they are."""
    if encoding == "UTF-8":
        return function

    def call(*values: Any) -> Any:
        texts = (value.decode(encoding, "replace").encode() if isinstance(value, bytes) else value for value in values)
        return function(*texts)

    return call


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading, and turn errors of SQLite inside the block into UnreadableFile."""
    try:
        database = sqlite3.connect(database_uri(path), uri=True, timeout=WAIT_SECONDS, isolation_level=None)
        with closing(database) as opened:
            opened.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
            opened.execute("PRAGMA trusted_schema = OFF")
            opened.execute("PRAGMA cell_size_check = ON")
            yield opened
    except sqlite3.Error as error:
        raise UnreadableFile(*explain_error(error)) from None
    except OSError as error:
        raise UnreadableFile("unreadable", f"it can’t be read: {error.strerror}") from None


def database_uri(path: Path) -> str:
    """Return the address that opens the file for reading only.

    A database in WAL mode that nobody has open has no `-wal` file. SQLite would make one beside it, or fail in a
    folder that is not writable, unless it is told that the file does not change.
    """
    with path.open("rb") as file:
        uses_wal = file.read(20)[18:20] == b"\2\2"
    is_closed = uses_wal and not os.path.exists(f"{path}-wal")
    return f"{path.as_uri()}?mode=ro" + ("&immutable=1" if is_closed else "")


def explain_error(error: sqlite3.Error) -> tuple[str, str]:
    """Return a code and a sentence. SQLite's own messages quote no values."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "locked", "another program is writing to it: stop that program, or import a copy of the file"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "damaged", "the database is damaged: recover it with `sqlite3 FILE .recover | sqlite3 NEW`"
    if name.startswith("SQLITE_READONLY"):
        why = "a write to it was interrupted: copy it, with the file beside it, and open the copy once with `sqlite3`"
        return "interrupted", why
    if name.startswith("SQLITE_CANTOPEN"):
        return "unreadable", "SQLite can’t open it: copy it, with the -wal file beside it, into a folder of your own"
    if name.startswith("SQLITE_TOOBIG"):
        return "value_too_large", f"a value is larger than {MAX_VALUE} bytes"
    return "unreadable", f"SQLite can’t read it: {error}"
