"""Restore dumps of PostgreSQL into databases that are dropped afterwards.

The statements run as a role that owns those databases and may do nothing else, in a session of its own: the server
refuses what reaches beyond them. Nothing that psql would interpret is run.
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq.abc import PGresult

from backups.drills import scripts
from backups.drills.limits import Limits
from backups.drills.outcomes import (
    MAX_SCHEMA_BYTES,
    POSTGRESQL,
    DrillError,
    Outcome,
    QueryFailed,
    Reason,
    SandboxUnavailable,
    Unsupported,
    Why,
)
from backups.drills.postgresql import amcheck, archives, cluster, roles, statements
from backups.drills.postgresql.roles import MAX_DATABASES, DrillRole
from backups.drills.postgresql.session import LOCKED_OUT, ConnectionLost, Session, is_failed
from backups.drills.recognition import CLUSTER, CUSTOM, TAR, DumpKind, recognize

QUERY_SECONDS, PATIENCE_SECONDS = 30, 5
COPY_FROM_STDIN = re.compile(rb"(?is)COPY\s.*\sFROM\s+STDIN\b")
CONNECT = re.compile(rb'\\connect\s+(?:-reuse-previous=on\s+)?(?:"dbname=\'([^\']+)\'"|"([^"]+)"|([^\s"]+))\s*\Z')
CREATE_DATABASE = re.compile(rb'(?is)CREATE\s+DATABASE\s+("(?:[^"]|"")*"|[^\s";]+)')
GUARDS = re.compile(rb"\\(?:un)?restrict\s")
ALL_ENDED: Reason = {"code": "sessions_ended"}
CRASHED: Reason = {"code": "server_ended"}
LARGE_OBJECTS = "pg_catalog.pg_largeobject"
Rows = list[tuple[Any, ...]]

TABLES = """
    SELECT n.nspname, c.relname, c.relkind::text, c.relrowsecurity OR c.relforcerowsecurity
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2
"""
# What the role owns: an extension's tables are not its own.
READABLE = """
    SELECT 'GRANT USAGE ON SCHEMA ' || string_agg(quote_ident(nspname), ', ') || ' TO {reader}'
    FROM pg_catalog.pg_namespace
    WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%' AND pg_has_role(nspowner, 'USAGE')
    HAVING count(*) > 0
    UNION ALL
    SELECT 'GRANT SELECT ON ' || string_agg(oid::regclass::text, ', ') || ' TO {reader}'
    FROM pg_catalog.pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S') AND pg_has_role(relowner, 'USAGE') AND relpersistence <> 't'
    HAVING count(*) > 0
"""


class Stopped(DrillError):
    """The restore cannot go on after this error on this line."""

    def __init__(self, why: Reason, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


class Sandbox:
    """The databases of one drill on the server of `url`, a private one if it is a `server`.

    Raises SandboxUnavailable.
    """

    def __init__(
        self, url: str, kind: DumpKind, limits: Limits, folder: Path, server: cluster.Server | None = None
    ) -> None:
        self.kind, self.limits, self.folder, self.server = kind, limits, folder, server
        self.role = DrillRole(url, limits.fixed_bytes)
        self.version = (self.role.admin.info.parameter_status("server_version") or "").split()[0]
        self.database = self.role.name
        # The names that a dump gives to its databases, and the first one until it names it.
        self.named: dict[str, str] = {}
        self.created = ""
        self.schemas: dict[str, list[str]] = {self.database: []}
        self.schema_size = 0
        try:
            self.session = self.open_session()
            self.refuse_languages()
        except (psycopg.Error, ConnectionLost, SandboxUnavailable) as error:
            with suppress(SandboxUnavailable):  # of a consequence
                self.role.close()
            why = error.why if isinstance(error, DrillError) else str(error).strip()
            raise SandboxUnavailable(POSTGRESQL, why) from None

    def open_session(self) -> Session:
        return Session(self.role.address(self.database, self.role.name))

    def refuse_languages(self) -> None:
        """Raises SandboxUnavailable, or psycopg.Error if the server cannot say."""
        if names := self.session.trusted_languages():
            raise SandboxUnavailable(POSTGRESQL, {"code": "languages_offered", "names": ", ".join(names)})

    def enter(self, database: str) -> None:
        """Go on in another database. Raises Stopped."""
        self.session.close()
        self.database = database
        try:
            self.session = self.open_session()
        except (psycopg.Error, ConnectionLost):
            raise Stopped(LOCKED_OUT) from None

    def close(self) -> None:
        self.session.close()
        try:
            self.role.close()
        except SandboxUnavailable:
            if not self.server:  # a private one ends soon, and its next drill sweeps again
                raise

    # --- Restore -----------------------------------------------------------------------------------------------------

    def restore(self, pieces: Iterable[bytes], outcome: Outcome) -> None:
        """Run the statements of the dump. Raises Aborted at a limit, SandboxUnavailable, Unsupported."""
        with self.guarded(outcome):
            if self.kind.format in (CUSTOM, TAR):
                pieces = named(archives.convert(pieces, self.folder, self.limits, outcome), outcome)
            self.run_script(scripts.Script(iter(pieces), scripts.POSTGRESQL), outcome)

    @contextmanager
    def guarded(self, outcome: Outcome) -> Iterator[None]:
        """Watch the limits during the block, and tell what ended a session."""
        with self.limits.watch(self.measure, self.abort):
            try:
                yield
            except (Stopped, ConnectionLost, QueryFailed, psycopg.Error) as error:
                self.limits.raise_if_reached()
                outcome.fail(self.explain(error), getattr(error, "line", None))
        self.limits.raise_if_reached()

    def explain(self, error: DrillError | psycopg.Error) -> Why:
        """Return what ended a session. Raises SandboxUnavailable if that says nothing about the dump."""
        # A server that is shut down refuses sessions before it ends the others.
        is_open = self.role.can_connect()
        if not self.role.is_up():
            if self.role.is_stopped or not self.role.reconnect():
                raise SandboxUnavailable(POSTGRESQL, ALL_ENDED) from None
            return CRASHED
        if not is_open:
            raise SandboxUnavailable(POSTGRESQL, {"code": "sessions_refused"}) from None
        if isinstance(error, DrillError):
            return error.why
        self.raise_if_exhausted(getattr(error, "sqlstate", "") or "")
        return type(error).__name__  # its text may hold a row

    def raise_if_exhausted(self, sqlstate: str) -> None:
        """Raises SandboxUnavailable for an error about resources, or Aborted if the dump took too much of them."""
        if statements.lacks_resources(sqlstate):
            self.limits.note_size(self.measure())
            self.limits.raise_if_reached()
            raise SandboxUnavailable(
                POSTGRESQL, {"code": "resources_lacking", "condition": statements.condition(sqlstate)}
            )

    def measure(self) -> int:
        try:
            return self.role.measure()
        except psycopg.errors.InsufficientPrivilege:
            return self.limits.max_bytes + 1  # a dump that hides its size has no honest reason
        except psycopg.Error:
            return 0  # the databases have been dropped, or the server is gone

    def abort(self) -> None:
        self.session.interrupt()
        self.role.drop()

    def run_script(self, script: scripts.Script, outcome: Outcome) -> None:
        for statement in script:
            text = statement.text
            if text.startswith(b"\\"):
                self.interpret(text, statement.line, outcome)
            elif left_out := statements.left_out(text):
                self.note_database(text)
                warn(outcome, left_out)
            else:
                self.run(script, statement, outcome)
                self.limits.raise_if_reached()

    def run(self, script: scripts.Script, statement: scripts.Statement, outcome: Outcome) -> None:
        text, is_copied = statement.text, False

        def rows() -> Iterator[bytes]:
            nonlocal is_copied
            is_copied = True
            yield from script.copy_rows()

        try:
            result = self.session.run(text, rows)
            if not is_copied and COPY_FROM_STDIN.match(text):
                for _piece in script.copy_rows():
                    pass  # of a table that could not be made; its rows are no statements
        except EOFError:
            raise Stopped({"code": "rows_cut_off"}, statement.line) from None
        except ConnectionLost as error:
            raise Stopped(error.why, statement.line) from None
        if is_failed(result):
            self.raise_if_exhausted(statements.own_sqlstate_of(result))
        if not is_failed(result):
            if statements.is_schema(text):
                self.keep_schema(str(statement))
        elif forgiven := statements.forgiven(text, statements.sqlstate_of(result)):
            warn(outcome, forgiven)
        else:
            self.record_error(result, statement, outcome)

    def record_error(self, result: PGresult, statement: scripts.Statement, outcome: Outcome) -> None:
        """Add the error of a statement. Raises Unsupported if the sandbox explains it as well as the dump does."""
        missing = next((warning for warning in outcome.warnings if warning["code"] == statements.EXTENSION), None)
        if missing and statements.needs_extension(result):
            raise Unsupported(**missing)
        message = statements.describe(result, statement.text, self.session.has_names)
        is_newer = major(outcome.version) > major(self.version)
        if statements.needs_other_server(result, statement.text, is_newer=is_newer):
            dumped = f"PostgreSQL {outcome.version}".strip()
            raise Unsupported("sandbox_differs", dumped=dumped, sandbox=f"PostgreSQL {self.version}", message=message)
        outcome.fail(message, statement.line + statements.copied_line(result))

    def keep_schema(self, statement: str) -> None:
        """Keep a statement for the database that will be shown, which is not known yet, up to the limit of all."""
        self.schema_size += len(statement)
        if self.schema_size < MAX_SCHEMA_BYTES:
            self.schemas[self.database].append(statement)
        else:
            self.schema_size -= len(statement)

    # --- What psql would interpret -----------------------------------------------------------------------------------

    def interpret(self, command: bytes, line: int, outcome: Outcome) -> None:
        """Follow a dump to its next database, and refuse any other command of psql."""
        if GUARDS.match(command):
            return
        found = CONNECT.match(command)
        name = statements.to_name(found[1] or found[2] or found[3]) if found else ""
        if found and self.may_connect(name):
            self.connect(name, line)
        else:
            shown = re.match(rb"\\[a-zA-Z!?]*", command)
            outcome.fail({"code": "statement_not_run", "statement": shown[0].decode() if shown else "\\"}, line)

    def note_database(self, statement: bytes) -> None:
        if found := CREATE_DATABASE.match(statement):
            self.created = statements.to_name(found[1])

    def may_connect(self, name: str) -> bool:
        """Return True in a dump of a cluster, and once in a dump that creates its database (`pg_dump -C`)."""
        return self.kind.format == CLUSTER or (not self.named and name == self.created)

    def connect(self, name: str, line: int) -> None:
        """Go on in the database that stands for this name, which is made at the first time."""
        if name not in self.named:
            if self.named and len(self.role.databases) >= MAX_DATABASES:
                raise Stopped({"code": "too_many_databases", "limit": MAX_DATABASES}, line)
            self.named[name] = self.role.create_database() if self.named else self.database
        self.schemas.setdefault(self.named[name], [])
        self.enter(self.named[name])

    # --- Inspection --------------------------------------------------------------------------------------------------

    def inspect(self, outcome: Outcome) -> None:
        """Count rows, and keep the schema. Raises Aborted at a limit, SandboxUnavailable."""
        names = {database: name for name, database in self.named.items()}
        with self.guarded(outcome):
            self.check_for_damage(outcome)
            outcome.size = self.role.measure()
            found = {}
            for database in self.role.databases:
                self.enter(database)
                found[database] = self.count_rows()
            full = [database for database, counted in found.items() if counted]
            for database in full:
                # Always or never: a table with another name would count as gone.
                prefix = f"{names[database]}." if self.kind.format == CLUSTER and database in names else ""
                outcome.rows |= {f"{prefix}{table}": count for table, count in found[database].items()}
            self.enter(next(iter(full), self.role.name))
            for (statement,) in self.query(READABLE.format(reader=self.role.reader).encode()):
                self.query(statement.encode())
            for statement in self.schemas[self.database]:
                outcome.keep_schema(statement)

    def check_for_damage(self, outcome: Outcome) -> None:
        if self.server and self.session.ask(amcheck.IS_AVAILABLE).ntuples:
            left = self.limits.started + self.limits.seconds - time.monotonic()
            program = Path(self.server.binaries, "pg_amcheck")
            amcheck.check_for_damage(outcome, program, self.server.login, self.role.databases, left)

    def count_rows(self) -> dict[str, int]:
        """Return the rows of each table of the session's database."""
        self.query(b"SET search_path = pg_catalog, pg_temp")
        self.query(b"SET row_security = off")
        counted = {}
        for schema, table, kind, is_secured in self.query(TABLES.encode()):
            name = sql.Identifier(schema, table).as_bytes(None)
            if is_secured == "t":
                self.query(b"ALTER TABLE %b DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY" % name)
            rows = self.query(b"SELECT count(*) FROM %b%b" % (b"ONLY " if kind == "r" else b"", name))
            counted[f"{schema}.{table}"] = int(rows[0][0])
        ((large_objects,),) = self.query(b"SELECT count(*) FROM pg_largeobject_metadata")
        if int(large_objects):
            counted[LARGE_OBJECTS] = int(large_objects)
        return counted

    def query(self, statement: bytes) -> list[list[str]]:
        """Return rows as text. Raises QueryFailed."""
        result = self.session.run(statement)
        if is_failed(result):
            self.raise_if_exhausted(statements.own_sqlstate_of(result))
            raise QueryFailed(statements.describe(result, statement, self.session.has_names))
        return [
            [(result.get_value(row, column) or b"").decode("utf-8", "replace") for column in range(result.nfields)]
            for row in range(result.ntuples)
        ]

    def evaluate(self, query: str) -> Rows:
        """Return the first two rows of an assertion's query, run by a role that may only read. Raises QueryFailed."""
        address = self.role.address(self.database, self.role.reader)
        try:
            with self.limits.watch(self.measure, self.abort), psycopg.connect(address, autocommit=True) as connection:
                connection.read_only = True
                connection.execute(f"SET statement_timeout = '{QUERY_SECONDS}s'")
                # A function of the dump may ignore the timeout, but not the end of its session.
                ends = threading.Timer(
                    QUERY_SECONDS + PATIENCE_SECONDS, self.role.end_session, [connection.info.backend_pid]
                )
                ends.start()
                try:
                    with connection.transaction(), connection.cursor() as cursor:
                        return list(islice(cursor.stream(query.encode()), 2))
                finally:
                    ends.cancel()
        except (psycopg.Error, MemoryError, ValueError, OverflowError) as error:
            self.limits.raise_if_reached()
            if isinstance(error, psycopg.Error):
                self.raise_if_exhausted(error.sqlstate or "")
            raise QueryFailed(str(error).strip()) from None


def named(pieces: Iterator[bytes], outcome: Outcome) -> Iterator[bytes]:
    """Take the version of the dumped server from the first lines of an archive's SQL."""
    first = next(pieces, b"")
    outcome.version = recognize(first).version
    yield first
    yield from pieces


def major(version: str) -> int:
    found = re.match("[0-9]+", version)
    return int(found[0]) if found else 0


def warn(outcome: Outcome, left_out: statements.LeftOut) -> None:
    if left_out.code:
        outcome.warn(left_out.code, **left_out.values)


def sweep(task: dict[str, Any]) -> None:
    """Remove what drills that were killed have left. Raises SandboxUnavailable."""
    cluster.sweep(Path(tempfile.gettempdir()))
    if task["postgres_url"]:
        roles.sweep(task["postgres_url"])


def open_sandbox(
    kind: DumpKind, task: dict[str, Any], limits: Limits, ask_for_server: Callable[[], dict[str, str] | None]
) -> Sandbox | None:
    """Return an empty database on the server that is set, else on a private one, or None without its programs.

    `ask_for_server` returns the fields of a private `Server` that runs. Raises SandboxUnavailable.
    """
    folder = Path(task["folder"])
    if url := task["postgres_url"]:
        return Sandbox(url, kind, limits, folder)
    if fields := ask_for_server():
        server = cluster.Server(**fields)
        limits.server_folders.append(server.folder)  # it may be on another disk
        return Sandbox(server.url, kind, limits, folder, server)
    return None
