"""Decide what becomes of each statement of a PostgreSQL dump, and say what went wrong without values of rows.

Nothing here contains a hostile dump: the role that runs the statements may do nothing outside its database. What a dump
says about roles, owners and the like is left out because a sandbox has only one role.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from psycopg import errors, sql
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

_NAME = rb'("(?:[^"]|"")*"|[^\s";]+)'


@dataclass(frozen=True)
class LeftOut:
    """A statement that is not sent, with the code and values of a warning, or without one."""

    code: str = ""
    values: dict[str, str] = field(default_factory=dict)


ROLES, TABLESPACES, DATABASES = "users_left_out", "tablespaces_left_out", "databases_left_out"
OUTSIDE, EXTENSION = "outside_left_out", "extension_missing"
_LEFT_OUT = [
    (re.compile(rb"(?is)" + pattern), code)
    for code, patterns in {
        # Every dump has owners and a default tablespace, so they are no news.
        "": (
            rb"ALTER\s.*\sOWNER\s+TO\s+" + _NAME + rb"\s*;?\Z",
            rb"SET\s+default_tablespace\b",
            rb"COMMENT\s+ON\s+(?:EXTENSION|DATABASE|ROLE|TABLESPACE|EVENT\s+TRIGGER|SUBSCRIPTION|SERVER)\b",
            rb'CREATE\s+(?:OR\s+REPLACE\s+)?(?:TRUSTED\s+)?(?:PROCEDURAL\s+)?LANGUAGE\s+"?plpgsql\b',
            rb"DROP\s+(?:EXTENSION|DATABASE|ROLE|USER|GROUP|TABLESPACE|EVENT\s+TRIGGER|SUBSCRIPTION|SERVER)\b",
            # The role that restores owns the table, and would be subject to policies.
            rb"ALTER\s+TABLE\s.*\sFORCE\s+ROW\s+LEVEL\s+SECURITY\s*;?\Z",
        ),
        ROLES: (
            rb"(?:CREATE|ALTER)\s+(?:ROLE|USER|GROUP)\b(?!\s+MAPPING)",
            rb"(?:GRANT|REVOKE|REASSIGN|SECURITY\s+LABEL|ALTER\s+DEFAULT\s+PRIVILEGES)\b",
            rb"SET\s+(?:(?:SESSION|LOCAL)\s+)?(?:SESSION\s+AUTHORIZATION|ROLE)\b",
            rb"RESET\s+(?:SESSION\s+AUTHORIZATION|ROLE)\b",
        ),
        TABLESPACES: (rb"(?:CREATE|ALTER)\s+TABLESPACE\b", rb"ALTER\s.*\sSET\s+TABLESPACE\s+" + _NAME + rb"\s*;?\Z"),
        DATABASES: (rb"(?:CREATE|ALTER)\s+DATABASE\b",),
        OUTSIDE: (
            rb"(?:CREATE|ALTER)\s+"
            rb"(EVENT\s+TRIGGER|SUBSCRIPTION|FOREIGN\s+(?:TABLE|DATA\s+WRAPPER)|SERVER|USER\s+MAPPING)\b",
        ),
    }.items()
    for pattern in patterns
]
_FIRST_WORD = re.compile(rb"[A-Za-z]+")
# Statements with rows are many, and begin with none of these.
_WORDS_LEFT_OUT = frozenset(b"ALTER COMMENT CREATE DROP GRANT REASSIGN RESET REVOKE SECURITY SET".split())
# Longer ones are no statement about owners, and need not be searched for one.
_LONGEST_LEFT_OUT = 10_000


def left_out(statement: bytes) -> LeftOut | None:
    """Return why a statement is not sent to the server, or None for one that is."""
    word = _FIRST_WORD.match(statement)
    if not word or word[0].upper() not in _WORDS_LEFT_OUT or len(statement) > _LONGEST_LEFT_OUT:
        return None
    for pattern, code in _LEFT_OUT:
        if found := pattern.match(statement):
            return LeftOut(code, {"kind": " ".join(found[1].decode().upper().split())} if code == OUTSIDE else {})
    return None


# --- Errors ----------------------------------------------------------------------------------------------------------

# What a dump of `pg_dump --clean` or `-n public` does in an empty database.
_ABSENT = frozenset({"42P01", "42704", "42883", "3F000", "42703"})
_DROPS = re.compile(
    rb"(?is)DROP\b|ALTER\s+TABLE\s.*\sDROP\s+(?:CONSTRAINT|DEFAULT|EXPRESSION|IDENTITY)\b|ALTER\s.*\sDETACH\s+PARTITION\b"
    rb"|SELECT\s+pg_catalog\.lo_unlink\("
)
# Statistics of the planner, which versions before 18 cannot take.
_STATISTICS = re.compile(rb"(?is)SELECT\s+\*\s+FROM\s+pg_catalog\.pg_restore_\w+_stats\(")
_PUBLIC = re.compile(
    rb'(?is)CREATE\s+SCHEMA\s+(?:IF\s+NOT\s+EXISTS\s+)?"?public"?\s*;|COMMENT\s+ON\s+SCHEMA\s+"?public\b'
)
_SETTING = re.compile(rb"(?is)SET\s+(?:SESSION\s+|LOCAL\s+)?([\w.]+)")
_EXTENSION = re.compile(rb"(?is)CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?" + _NAME)
_POLICY = re.compile(rb"(?is)(?:CREATE|ALTER)\s+POLICY\b")
_PUBLICATION = re.compile(rb"(?is)(?:CREATE|ALTER)\s+PUBLICATION\b")
_REFUSED, _UNDEFINED, _DUPLICATE_SCHEMA, _ABORTED, _SYNTAX = "42501", "42704", "42P06", "25P02", "42601"


def forgiven(statement: bytes, sqlstate: str) -> LeftOut | None:
    """Return the warning instead of an error that says nothing about the dump, or None for any other error."""
    if sqlstate == _ABORTED:
        return LeftOut()  # the error that aborted the transaction has been counted
    if _DROPS.match(statement) and sqlstate in _ABSENT:
        return LeftOut()
    if _STATISTICS.match(statement) and sqlstate == "42883":
        return LeftOut()
    if _PUBLIC.match(statement) and sqlstate in (_DUPLICATE_SCHEMA, _REFUSED):
        return LeftOut()
    if found := _EXTENSION.match(statement):
        is_missing = sqlstate in (_REFUSED, _UNDEFINED, "0A000", "58P01", "22023")
        return LeftOut(EXTENSION, {"extension": to_name(found[1])}) if is_missing else None
    if found := _SETTING.match(statement):
        return LeftOut("setting_ignored", {"setting": to_name(found[1])})
    if _POLICY.match(statement) and sqlstate == _UNDEFINED:
        return LeftOut(ROLES)
    if _PUBLICATION.match(statement) and sqlstate == _REFUSED:
        return LeftOut(OUTSIDE, {"kind": "PUBLICATION"})
    return None


def to_name(quoted: bytes) -> str:
    """Return an identifier without its quotes, as one short line."""
    text = quoted.decode("utf-8", "replace")
    text = text[1:-1].replace('""', '"') if text.startswith('"') else text
    return "".join(char if char.isprintable() else " " for char in text)[:100]


# One row if the database has all names. Operators may be those of the dump.
_SEARCH = """
    SELECT WHERE ({schema} OPERATOR(pg_catalog.=) '' OR EXISTS (SELECT FROM pg_catalog.pg_namespace
        WHERE nspname OPERATOR(pg_catalog.=) {schema}))
    AND ({table} OPERATOR(pg_catalog.=) '' OR EXISTS (SELECT FROM pg_catalog.pg_class
        WHERE relname OPERATOR(pg_catalog.=) {table}))
    AND ({column} OPERATOR(pg_catalog.=) '' OR EXISTS (SELECT FROM pg_catalog.pg_attribute
        WHERE attname OPERATOR(pg_catalog.=) {column}))
    AND ({constraint} OPERATOR(pg_catalog.=) '' OR EXISTS (SELECT FROM pg_catalog.pg_constraint
        WHERE conname OPERATOR(pg_catalog.=) {constraint}) OR EXISTS (SELECT FROM pg_catalog.pg_class
        WHERE relname OPERATOR(pg_catalog.=) {constraint}))
    AND ({type} OPERATOR(pg_catalog.=) '' OR EXISTS (SELECT FROM pg_catalog.pg_type
        WHERE typname OPERATOR(pg_catalog.=) {type}))
"""


class Names(NamedTuple):
    """The names in an error, which a function of the dump may have made of a row."""

    schema: str
    table: str
    column: str
    constraint: str
    type: str

    def listed(self) -> str:
        table = f"{self.schema}.{self.table}" if self.schema and self.table else self.table
        words = {"table": table, "column": self.column, "constraint": self.constraint, "type": self.type}
        return ", ".join(f"{word} {name}" for word, name in words.items() if name)

    def search(self) -> bytes:
        """Return a query that has a row if the database has all of these names."""
        literals = {word: sql.Literal(name) for word, name in self._asdict().items()}
        return sql.SQL(_SEARCH).format(**literals).as_bytes(None)


# Statements that describe tables and the like. What the server says about others may quote a row.
_DEFINITIONS = frozenset({"ALTER", "COMMENT", "CREATE", "DROP", "GRANT", "LOAD", "REVOKE", "SECURITY", "SET"})
_OTHERS = frozenset(
    {
        "ANALYZE", "BEGIN", "CALL", "CHECKPOINT", "CLUSTER", "COMMIT", "COPY", "DELETE", "DO", "END", "EXECUTE",
        "EXPLAIN", "IMPORT", "INSERT", "LISTEN", "LOCK", "MERGE", "NOTIFY", "PREPARE", "REFRESH", "REINDEX", "RESET",
        "ROLLBACK", "SELECT", "START", "TABLE", "TRUNCATE", "UPDATE", "VACUUM", "VALUES", "WITH",
    }
)  # fmt: skip
_NAMES = (
    DiagnosticField.SCHEMA_NAME,
    DiagnosticField.TABLE_NAME,
    DiagnosticField.COLUMN_NAME,
    DiagnosticField.CONSTRAINT_NAME,
    DiagnosticField.DATATYPE_NAME,
)
# Of the classes "data exception", "syntax error" and "PL/pgSQL error", whose texts quote values.
_QUOTING = ("22", "42601", "P0", "XX")
_COPY_LINE = re.compile(r"COPY .*?, line ([0-9]+)", re.DOTALL)


def verb_of(statement: bytes) -> str:
    word = _FIRST_WORD.match(statement)
    verb = word[0].decode("ascii").upper() if word else ""
    return verb if verb in _DEFINITIONS or verb in _OTHERS else "Statement"


def sqlstate_of(result: PGresult) -> str:
    return (result.error_field(DiagnosticField.SQLSTATE) or b"").decode("ascii", "replace")


def own_sqlstate_of(result: PGresult) -> str:
    """Return the condition, or nothing for one that a function has raised, which may name any."""
    is_raised = result.error_field(DiagnosticField.SOURCE_FUNCTION) == b"exec_stmt_raise"
    return "" if is_raised else sqlstate_of(result)


def lacks_resources(sqlstate: str) -> bool:
    """Return whether an error is about disk, memory or connections. 53400 is a limit of the drill's role."""
    return sqlstate.startswith("53") and sqlstate != "53400"


# Words of definitions that evaluate an expression, perhaps on rows: what the server says may then quote one.
_QUERY = re.compile(rb"(?i)\b(?:SELECT|VALUES|EXECUTE|RETURNING)\b")
_EXPRESSION = re.compile(
    rb"(?i)\b(?:SELECT|VALUES|EXECUTE|RETURNING|REFRESH|MATERIALIZED|INDEX|USING|TYPE|CHECK|DEFAULT|GENERATED|VALIDATE|ATTACH)\b"
)
_TABLE = re.compile(rb"(?is)CREATE\s+(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED|FOREIGN)\s+)*TABLE\b")
_PLAIN_INDEX = re.compile(rb"(?is)CREATE\s+(?:UNIQUE\s+)?INDEX\s(?!.*\bWHERE\b)[^()]*\([^()]*\)[^()]*\Z")
# They keep their expressions for later.
_DEFERRED = re.compile(
    rb"(?is)CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:TEMP|TEMPORARY|RECURSIVE|CONSTRAINT)\s+)*"
    rb"(?:VIEW|FUNCTION|PROCEDURE|TRIGGER|RULE|POLICY|AGGREGATE|OPERATOR|TYPE|DOMAIN|CAST)\b"
)
_VALUES = re.compile(r'"(.+?)"|([0-9]+)')


# Of a type, an operator class, a language, a function or an operator.
_MAY_BE_OF_EXTENSION = frozenset({"42704", "42883"})
_COLLATION = re.compile(rb"(?is)CREATE\s+COLLATION\b")
_UNUSABLE_COLLATION = frozenset({"0A000", "22023", "42704", "58P01"})


def needs_extension(result: PGresult) -> bool:
    """Return whether an extension that the sandbox lacks explains an error."""
    return own_sqlstate_of(result) in _MAY_BE_OF_EXTENSION


def needs_other_server(result: PGresult, statement: bytes, *, is_newer: bool) -> bool:
    """Return whether a collation of the dumped server, or its later version, explains an error."""
    sqlstate = own_sqlstate_of(result)
    if _COLLATION.match(statement):
        return sqlstate in _UNUSABLE_COLLATION
    if result.error_field(DiagnosticField.SOURCE_FUNCTION) == b"get_collation_oid":
        # Those of the server are in this schema. The dump makes the others.
        return "pg_catalog." in text_of(result, DiagnosticField.MESSAGE_PRIMARY)
    is_beyond = sqlstate == _SYNTAX or sqlstate in _MAY_BE_OF_EXTENSION
    return is_newer and is_beyond and verb_of(statement) in _DEFINITIONS


def describe(result: PGresult, statement: bytes, is_known: Callable[[Names], bool]) -> str:
    """Return what went wrong: the server's text for definitions without rows, else the condition and known names."""
    verb, sqlstate = verb_of(statement), sqlstate_of(result)
    text = text_of(result, DiagnosticField.MESSAGE_PRIMARY)
    is_quoting = sqlstate.startswith(_QUOTING) or result.error_field(DiagnosticField.CONTEXT)
    if verb in _DEFINITIONS and not is_quoting and sqlstate and not may_quote_row(text, statement):
        return f"{verb}: {text}"
    names = Names(*(text_of(result, which) for which in _NAMES))
    listed = names.listed() if any(names) and is_known(names) else ""
    return f"{verb}: {condition(sqlstate)}" + (f" ({listed})" if listed else "")


def may_quote_row(text: str, statement: bytes) -> bool:
    """Return whether a definition evaluates expressions, or the server's text has a value that it does not have."""
    is_plain = _DEFERRED.match(statement) or _PLAIN_INDEX.match(statement)
    if not is_plain and (_QUERY if _TABLE.match(statement) else _EXPRESSION).search(statement):
        return True
    own = statement.decode("utf-8", "replace").replace('"', "").lower()
    return any((name or number).replace('"', "").lower() not in own for name, number in _VALUES.findall(text))


def text_of(result: PGresult, which: DiagnosticField) -> str:
    return (result.error_field(which) or b"").decode("utf-8", "replace")


def condition(sqlstate: str) -> str:
    """Return the name that PostgreSQL gives to an error, such as unique_violation."""
    if not sqlstate:
        return "out_of_memory"  # libpq's own error: it cannot hold the result
    try:
        name = errors.lookup(sqlstate).__name__
    except KeyError:
        return f"SQLSTATE {sqlstate}"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def copied_line(result: PGresult) -> int:
    """Return the number of the row that COPY refused, or 0."""
    found = _COPY_LINE.match(text_of(result, DiagnosticField.CONTEXT))
    return int(found[1]) if found else 0


# --- Schema ----------------------------------------------------------------------------------------------------------

_SCHEMA = re.compile(
    rb"(?is)(?:CREATE|ALTER)\s|SET\s+\w+\s*=|SELECT\s+(?:pg_catalog\.)?set_config\('search_path', '[^']*', false\);"
)
_MADE_OF_ROWS = re.compile(
    rb"(?is)CREATE\s+(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED)\s+)*TABLE\s.*\bAS\b[\s(]*(?:SELECT|VALUES|TABLE|WITH|EXECUTE)\b"
)


def is_schema(statement: bytes) -> bool:
    """Return whether a statement belongs to the script that makes the tables anew, and holds no row."""
    return bool(_SCHEMA.match(statement)) and not _MADE_OF_ROWS.match(statement[:_LONGEST_LEFT_OUT])
