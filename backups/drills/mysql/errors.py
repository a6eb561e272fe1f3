"""Classify errors of servers of MySQL and MariaDB, and describe them without values of rows."""

from __future__ import annotations

import re

import pymysql
from pymysql.constants import CR, ER

from backups.drills.mysql import statements
from backups.drills.outcomes import MARIADB, Reason
from backups.drills.recognition import DumpKind

PACKET_TOO_LARGE = ER.NET_PACKET_TOO_LARGE
CONNECTION_KILLED, STATEMENT_ABOUT_PRIVILEGE = 1927, 1419
LOST = frozenset({CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, ER.SERVER_SHUTDOWN, CONNECTION_KILLED})
FULL = frozenset({ER.DISK_FULL, ER.RECORD_FILE_FULL})
FAILED_WRITES = frozenset(
    {ER.CANT_CREATE_DB, ER.CANT_CREATE_FILE, ER.CANT_CREATE_TABLE, ER.ERROR_ON_RENAME, ER.ERROR_ON_WRITE, ER.GET_ERRNO}
)
NO_SPACE = re.compile(r"(?i)\b(?:error|errno|errcode):? 28\b")
OUTSIDE = frozenset({ER.DBACCESS_DENIED_ERROR, ER.BAD_DB_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.NO_SUCH_TABLE})
# What the sandbox's server does not know.
LACKING = frozenset(
    {
        ER.UNKNOWN_COLLATION,
        ER.UNKNOWN_CHARACTER_SET,
        ER.UNKNOWN_STORAGE_ENGINE,
        ER.UNKNOWN_SYSTEM_VARIABLE,
        PACKET_TOO_LARGE,
    }
)
# Errors whose text holds names only.
NAMING_TABLES = OUTSIDE | {
    ER.NO_DB_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, ER.SP_DOES_NOT_EXIST,
    PACKET_TOO_LARGE,
}  # fmt: skip
NAMING = NAMING_TABLES | LACKING | {
    ER.BAD_FIELD_ERROR, ER.BAD_TABLE_ERROR, ER.BLOB_CANT_HAVE_DEFAULT, ER.BLOB_KEY_WITHOUT_LENGTH,
    ER.CANNOT_ADD_FOREIGN, ER.CANT_CREATE_TABLE, ER.CANT_DROP_FIELD_OR_KEY, ER.COLLATION_CHARSET_MISMATCH,
    ER.DB_CREATE_EXISTS, ER.DUP_FIELDNAME, ER.DUP_KEYNAME, ER.GLOBAL_VARIABLE, ER.INCORRECT_GLOBAL_LOCAL_VAR,
    ER.KEY_COLUMN_DOES_NOT_EXITS, ER.LOCAL_VARIABLE, ER.MULTIPLE_PRI_KEY, ER.SP_ALREADY_EXISTS, ER.TABLE_EXISTS_ERROR,
    ER.TABLE_NOT_LOCKED, ER.TABLE_NOT_LOCKED_FOR_WRITE, ER.TOO_BIG_ROWSIZE, ER.TOO_LONG_IDENT, ER.TOO_LONG_KEY,
    ER.TRG_ALREADY_EXISTS, ER.UNKNOWN_TABLE, ER.VAR_CANT_BE_READ, ER.VIEW_INVALID, ER.WRONG_AUTO_KEY, ER.WRONG_OBJECT,
    0,
}  # fmt: skip
NAMES = {value: f"ER_{name}" for name, value in vars(ER).items() if isinstance(value, int) and name != "ERROR_FIRST"}


class TooManyDatabases(pymysql.DataError):  # type: ignore[misc]
    """The dump has more databases than a drill restores."""


def code_of(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1


def is_lost(error: Exception) -> bool:
    """Return True if the connection is closed."""
    return isinstance(error, OSError | pymysql.InterfaceError) or code_of(error) in LOST


def misses_database(error: Exception) -> bool:
    return code_of(error) in OUTSIDE


def describe_refusal(error: Exception) -> str:
    return f"DRILL_MYSQL_URL: {error.args[-1] if error.args else type(error).__name__}"


def refuse(statement: str) -> Reason:
    """Return the error of a statement that is not run, by its first word, which is empty if it is not known."""
    return {"code": "statement_not_run", "statement": statement} if statement else {"code": "statement_unknown"}


def blames_server(error: Exception) -> Reason | None:
    """Return why the server is no sandbox, or nothing if it's not the reason of the error."""
    if code_of(error) == STATEMENT_ABOUT_PRIVILEGE:
        return {"code": "binary_log"}
    if code_of(error) in FULL or (code_of(error) in FAILED_WRITES and NO_SPACE.search(str(error.args[-1]))):
        return {"code": "server_full"}
    return None


def blames_product(error: Exception, words: list[str], *, is_other: bool) -> bool:
    """Return True if the sandbox lacks what the statement uses, so that the error says nothing about the backup."""
    is_foreign_syntax = is_other and code_of(error) == ER.PARSE_ERROR and not statements.SCHEMA.isdisjoint(words)
    return is_foreign_syntax or code_of(error) in LACKING


def label(kind: DumpKind) -> str:
    return f"{'MariaDB' if kind.engine == MARIADB else 'MySQL'} {kind.version}".strip()


def describe(error: Exception, words: list[str], table: str, *, runs_code: bool = True) -> str:
    """Return the verb and what went wrong: the server's text if it holds names only, else its symbol and the table.

    The text of a statement that `runs_code` of the dump may be what a trigger or a function has made of a row.
    """
    code = code_of(error)
    is_named = code in NAMING and not runs_code
    what = str(error.args[-1]) if is_named else NAMES.get(code, f"error {code}")
    subject = " ".join(filter(None, [statements.show_word(words) or "Statement", "" if is_named else table]))
    return f"{subject}: {what}"


def line_within(error: Exception, text: bytes) -> int:
    """Return how many lines below the beginning of the statement a syntax error is."""
    found = re.search(r"at line (\d{1,9})\Z", str(error.args[-1])) if code_of(error) == ER.PARSE_ERROR else None
    lines = int(found[1]) - 1 if found else 0
    return lines if lines <= text.count(b"\n") else 0
