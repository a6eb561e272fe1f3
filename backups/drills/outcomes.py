"""The report of one drill: built by the child process, sent as JSON, read by the portal.

No text of the dump is kept but names of tables, columns and the like: see `describe` of each engine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

# The text of a server as it wrote it, or a code of `backups.reasons` with its values, which is translated when shown.
Reason = dict[str, Any]
Why = str | Reason

PROVEN, FAILED, UNSUPPORTED = "PROVEN", "FAILED", "UNSUPPORTED"
SQLITE, POSTGRESQL, MYSQL, MARIADB = "sqlite", "postgresql", "mysql", "mariadb"

# Doubts about an unpacked dump that no restore dispels.
FATAL_DOUBTS = frozenset({"empty", "not_a_dump", "incomplete", "truncated_gzip", "truncated_zstd", "not_unpacked"})
MAX_ERRORS = 50
MAX_WARNINGS = 50
MAX_MESSAGE = 300
# Of the names of all tables together.
MAX_NAMES_BYTES = 1024 * 1024
# A schema is kept to try assertions on. Larger ones are rare.
MAX_SCHEMA_BYTES = 2 * 1024 * 1024


class DrillError(Exception):
    """Something ended a drill, or a query in it, for the reason `why`."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why = shorten_reason(why)


class SandboxUnavailable(DrillError):
    """The sandbox's server cannot be used, or without an engine none for lack of space: no word about the dump."""

    def __init__(self, engine: str, why: Why) -> None:
        super().__init__(why)
        self.engine = engine


class Unsupported(Exception):
    """This sandbox cannot restore the dump, which says nothing about it. Has the code and values of a warning."""

    def __init__(self, code: str, **values: str) -> None:
        super().__init__(code)
        self.code, self.values = code, values


class Aborted(DrillError):
    """The dump reached a limit."""


class QueryFailed(DrillError):
    """The query of an assertion failed; the text is the server's, and may hold values of rows."""


def shorten_reason(why: Why) -> Reason:
    """Return a reason with texts of at most MAX_MESSAGE characters; that of a server is its `message`."""
    reason = {"message": why} if isinstance(why, str) else why
    return {key: value[:MAX_MESSAGE] if isinstance(value, str) else value for key, value in reason.items()}


@dataclass
class Outcome:
    """The report of a drill.

    `version` is that of the server that was dumped, `restored_with` that of the sandbox. Errors are
    reasons with their `line`, None if it is not known. `doubts` and the codes of errors and warnings are those of
    `backups.reasons`. Assertions are `{"name", "ok", "value"}`, where only numbers, truth values and times are kept as
    values. `size` is in bytes, `duration_ms` of the restore alone in milliseconds, and `sha256` of the file as stored,
    empty if it was not read to its end. `schema` holds the statements that made the tables.
    """

    engine: str = ""
    version: str = ""
    format: str = ""
    restored_with: str = ""
    status: str = FAILED
    rows: dict[str, int] = field(default_factory=dict)
    size: int = 0
    duration_ms: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    errors_omitted: int = 0
    doubts: list[str] = field(default_factory=list)
    sha256: str = ""
    warnings: list[dict[str, Any]] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)
    schema: str = ""

    def fail(self, why: Why, line: int | None = None) -> None:
        """Add an error. Beyond MAX_ERRORS they are only counted."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"line": line, **shorten_reason(why)})
        else:
            self.errors_omitted += 1

    def warn(self, code: str, **values: Any) -> None:
        """Add a warning once, and no more than MAX_WARNINGS."""
        reason = {"code": code, **values}
        if len(self.warnings) < MAX_WARNINGS and reason not in self.warnings:
            self.warnings.append(reason)

    def keep_schema(self, statement: str) -> None:
        if len(self.schema) + len(statement) < MAX_SCHEMA_BYTES:
            self.schema += f"{statement}\n"

    def conclude(self, *, is_restored: bool) -> None:
        """Set the status, once everything has been tried."""
        if sum(map(len, self.rows)) > MAX_NAMES_BYTES:
            self.rows = {}
            self.fail({"code": "too_many_tables"})
        if is_restored and not self.rows and not self.errors:
            self.fail({"code": "no_tables"})
        if self.errors or not FATAL_DOUBTS.isdisjoint(self.doubts):
            self.status = FAILED
        else:
            self.status = PROVEN if is_restored else UNSUPPORTED

    def as_json(self) -> dict[str, Any]:
        """Return the fields, without zero bytes, which PostgreSQL does not store."""
        fields: dict[str, Any] = without_zeros(asdict(self))
        return fields


def without_zeros(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {without_zeros(key): without_zeros(item) for key, item in value.items()}
    return [without_zeros(item) for item in value] if isinstance(value, list) else value
