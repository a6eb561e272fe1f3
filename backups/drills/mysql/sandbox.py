"""Restore dumps of MySQL and MariaDB into databases of their own on the server of DRILL_MYSQL_URL.

A user that has rights on these databases alone runs the script; one that can only read counts and evaluates. The
databases that a dump names become databases of the sandbox. What it says about the server itself is left out.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing, suppress
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from backups.drills import scripts
from backups.drills.limits import Limits, free_bytes
from backups.drills.mysql import errors, statements
from backups.drills.mysql.server import (
    ANSWER_SECONDS,
    PREFIX,
    Connection,
    Meter,
    Rows,
    Server,
    connect,
    drop_leftovers,
    escape_pattern,
    fetch,
    forget_result,
    parse_url,
    quote,
    users_of,
)
from backups.drills.outcomes import MARIADB, MYSQL, Outcome, QueryFailed, Reason, SandboxUnavailable, Unsupported
from backups.drills.recognition import DumpKind

QUERY_SECONDS = 30
# Longest wait for a server that starts again after a crash.
RESTART_SECONDS = 60
MAX_DATABASES = 1000
DELIMITER = re.compile(rb"(?i)DELIMITER[ \t]+(\S+)")
TABLES = (
    "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA LIKE %s"
    " AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1, 2"
)
# Tables stay within the sandbox's folders on the server, whatever a statement says.
IN_PLACE = b"SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_DIR_IN_CREATE')"
CLIENT_COMMAND: Reason = {"code": "client_command"}
CONNECTION_ENDED: Reason = {"code": "connection_ended"}
SERVER_ENDED: Reason = {"code": "server_ended"}


def describe_administrator(url: str) -> str:
    """Connect as the administrator, and return product and version of the server. Raises SandboxUnavailable."""
    try:
        with closing(connect(parse_url(url), read_timeout=ANSWER_SECONDS)) as admin:
            return Server(url, admin).label
    except (pymysql.Error, OSError) as error:
        raise SandboxUnavailable(MYSQL, errors.describe_refusal(error)) from None


class Sandbox:
    """The databases of one drill. `databases` maps their names in the dump to those on the server."""

    def __init__(self, url: str, kind: DumpKind, limits: Limits) -> None:
        self.kind, self.limits = kind, limits
        self.name = f"{PREFIX}{secrets.token_hex(8)}"
        self.writer_name, self.reader_name = users_of(self.name)
        self.databases: dict[str, str] = {}
        self.current = self.default = f"{self.name}_0"
        self.is_left_out = False
        try:
            self.admin = connect(parse_url(url), read_timeout=ANSWER_SECONDS)
            try:
                self.open(url)
            except BaseException:
                self.close()
                raise
        except (pymysql.Error, OSError) as error:
            raise SandboxUnavailable(MYSQL, errors.describe_refusal(error)) from None

    def open(self, url: str) -> None:
        self.server = Server(url, self.admin)
        self.version = self.server.version
        with suppress(pymysql.Error):  # a session may still be ending: the next drill sweeps again
            drop_leftovers(self.server)
        self.server.create(self.name)
        # Its results are thrown away, so nothing in them is decoded.
        self.writer = self.server.log_in(self.writer_name, conv={}, use_unicode=False, database=self.default)
        self.server.refuse_unsafe(self.reader_name)
        self.cursor = self.writer.cursor(SSCursor)
        self.meter = Meter(self.server, self.name)
        for folder in self.server.local_folders():
            with suppress(OSError):
                free_bytes(folder)
                self.limits.server_folders.append(folder)
        ((self.max_packet,),) = fetch(self.admin, "SELECT @@max_allowed_packet")

    def close(self) -> None:
        """Drop everything. What cannot be dropped now is left to the next sweep."""
        with suppress(AttributeError):  # not yet opened
            forget_result(self.cursor)
        with suppress(pymysql.Error, OSError, AttributeError), closing(self.admin):
            self.server.drop(self.name)

    def watched(self) -> AbstractContextManager[None]:
        """Keep the limits during the block, in which another thread uses `admin`."""
        return self.limits.watch(self.meter.measure, self.end_sessions)

    def end_sessions(self) -> None:
        with suppress(pymysql.Error, OSError):
            self.server.end_sessions((self.writer_name, self.reader_name))

    # --- Restore -----------------------------------------------------------------------------------------------------

    def restore(self, pieces: Iterable[bytes], outcome: Outcome) -> None:
        """Run the script. Raises Aborted at a limit, Unsupported, SandboxUnavailable."""
        try:
            with self.watched():
                lost_at = self.run_script(scripts.Script(iter(pieces), scripts.MYSQL), outcome)
        except SandboxUnavailable:  # a server without space may be one that the dump has filled
            self.limits.note_size(self.meter.measure())
            self.limits.raise_if_reached()
            raise
        if lost_at is not None:
            outcome.fail(SERVER_ENDED if self.has_ended() else CONNECTION_ENDED, lost_at)
        forget_result(self.cursor)
        with suppress(pymysql.Error):
            self.writer.close()

    def has_ended(self) -> bool:
        """Connect again if the server has ended, and return True then.

        Raises SandboxUnavailable if it doesn't answer.
        """
        with suppress(pymysql.Error, OSError):
            fetch(self.admin, "SELECT 1")
            return False
        for _second in range(RESTART_SECONDS):
            with suppress(pymysql.Error, OSError):
                self.admin.connect()
                return True
            time.sleep(1)
        raise SandboxUnavailable(MYSQL, {"code": "server_went_away"})

    def run_script(self, script: scripts.Script, outcome: Outcome) -> int | None:
        """Return the line of the statement that has ended the connection, if one has."""
        for statement in script:
            if found := DELIMITER.match(statement.text):
                script.set_delimiter(found[1])
                continue
            self.limits.raise_if_reached()
            text = statement.text.removesuffix(script.delimiter)
            try:
                self.run(text, script.delimiter, statement.line, outcome)
            except (pymysql.Error, OSError) as error:
                self.limits.raise_if_reached()
                if errors.is_lost(error):
                    return statement.line
                self.record(error, text, statement.line, outcome)
        return None

    def record(self, error: Exception, text: bytes, line: int, outcome: Outcome) -> None:
        """Add the error of a statement. Raises Unsupported or SandboxUnavailable if the cause is the server."""
        if why := errors.blames_server(error):
            raise SandboxUnavailable(MYSQL, why)
        if isinstance(error, errors.TooManyDatabases):
            outcome.fail({"code": "too_many_databases", "limit": MAX_DATABASES}, line)
            return
        words = statements.leading_words(text)
        head = statements.read_head(
            statements.without_comments(text[: statements.HEAD_BYTES], self.server.reads_comment)
        )
        message = errors.describe(
            error, words, statements.named_table(head), runs_code=statements.runs_code(words, text)
        )
        message = self.with_names_of_dump(message)
        if errors.blames_product(error, words, is_other=self.server.is_other_than(self.kind)):
            names = {"dumped": errors.label(self.kind), "sandbox": self.server.label}
            raise Unsupported("sandbox_differs", **names, message=message)
        outcome.fail(message, line + errors.line_within(error, text))

    def run(self, text: bytes, delimiter: bytes, line: int, outcome: Outcome) -> None:
        words = statements.leading_words(text)
        if not words:
            return
        if text.startswith(b"\\"):
            outcome.fail(CLIENT_COMMAND, line)
        elif statements.ROWS.issuperset(words):
            if not self.is_left_out:
                self.send(text)
        else:
            self.refuse_long(text)
            text = statements.drop_definer(statements.without_comments(text, self.server.reads_comment))
            self.run_other(text, words, delimiter, line, outcome)

    def run_other(self, text: bytes, words: list[str], delimiter: bytes, line: int, outcome: Outcome) -> None:
        """Run what is not about rows, or refuse it. The text has no comments."""
        head = statements.read_head(text)
        if (name := statements.used_database(head)) is not None:
            self.use(name, outcome)
        elif change := statements.changed_database(head):
            self.change_database(*change, outcome)
        elif statements.is_about_users(head):
            outcome.warn("users_left_out")
        elif statements.is_about_server(head):
            outcome.warn("server_left_out")
        elif not statements.SENT.issuperset(words) or (head and not statements.is_sent(head)):
            outcome.fail(errors.refuse(statements.show_word(words)), line)
        elif statements.fills_table(text, head):
            outcome.fail(errors.refuse("CREATE TABLE ... SELECT"), line)
        elif not head or (self.is_left_out and words != ["SET"]):
            pass
        elif self.server.has_events and statements.is_about_events(head):
            outcome.warn("events_left_out")
        else:
            self.send_other(text, words)
            if statements.makes_schema(words, head):
                self.keep(text, delimiter, outcome)

    def send_other(self, text: bytes, words: list[str]) -> None:
        """Run a statement. Its names of databases are replaced if it fails with them."""
        if not statements.SESSION.issuperset(words):
            self.send(IN_PLACE)
        try:
            self.send(text)
        except pymysql.Error as error:
            if not (self.databases and errors.misses_database(error)):
                raise
            self.send(statements.rename_databases(text, self.databases))

    def send(self, text: bytes) -> None:
        self.refuse_long(text)
        self.meter.statement += 1
        self.cursor.execute(text)
        while self.cursor.description and self.cursor.fetchmany(100):
            pass

    def refuse_long(self, text: bytes) -> None:
        if len(text) >= self.max_packet:
            raise pymysql.DataError(errors.PACKET_TOO_LARGE, f"larger than max_allowed_packet, {self.max_packet}")

    def keep(self, text: bytes, delimiter: bytes, outcome: Outcome) -> None:
        statement = text.decode("utf-8", "replace").strip()
        if delimiter == b";":
            outcome.keep_schema(f"{statement}\n;")
        else:
            mark = delimiter.decode("utf-8", "replace")
            outcome.keep_schema(f"DELIMITER {mark}\n{statement}\n{mark}\nDELIMITER ;")

    # --- Databases ---------------------------------------------------------------------------------------------------

    def use(self, name: str, outcome: Outcome) -> None:
        self.is_left_out = name.lower() in statements.SERVER_DATABASES
        if self.is_left_out:
            outcome.warn("server_left_out")
            return
        if name not in self.databases:
            self.make_database(name)
        self.current = self.databases[name]
        self.send(f"USE {quote(self.current)}".encode())
        outcome.keep_schema(f"USE {quote(name)};")

    def change_database(self, verb: str, name: str, options: str, outcome: Outcome) -> None:
        if name.lower() in statements.SERVER_DATABASES:
            outcome.warn("server_left_out")
        elif verb == "DROP":
            if name in self.databases:
                self.send(f"DROP DATABASE IF EXISTS {quote(self.databases[name])}".encode())
        else:
            if verb == "CREATE":
                self.make_database(name)
            # A dump of a single database names it only here, around routines of another character set.
            target = self.databases.get(name, self.current)
            if options:
                self.send(f"ALTER DATABASE {quote(target)} {options}".encode())

    def make_database(self, name: str) -> None:
        if name not in self.databases and len(self.databases) >= MAX_DATABASES:
            raise errors.TooManyDatabases
        target = self.databases.setdefault(name, f"{self.name}_{len(self.databases) + 1}")
        self.send(f"CREATE DATABASE IF NOT EXISTS {quote(target)} CHARACTER SET utf8mb4".encode())

    def with_names_of_dump(self, message: str) -> str:
        for name, database in self.databases.items():
            message = re.sub(rf"{database}(?!\d)", name.replace("\\", r"\\"), message)
        return re.sub(rf"`?{self.name}_0`?\.|{self.name}_?", "", message)

    # --- Inspection --------------------------------------------------------------------------------------------------

    def inspect(self, outcome: Outcome) -> None:
        """Count rows and measure the databases. Raises Aborted at a limit."""
        reader = self.log_in_reader()
        self.meter.statement += 1
        try:
            with closing(reader), self.watched():
                tables = fetch(reader, TABLES, escape_pattern(f"{self.name}_") + "%")
                self.count_rows(reader, tables, outcome)
        except (pymysql.Error, OSError) as error:
            self.limits.raise_if_reached()
            is_end = errors.is_lost(error) and self.has_ended()
            outcome.fail(SERVER_ENDED if is_end else errors.describe(error, ["SELECT"], ""))
        outcome.size = self.meter.measure_tables()

    def log_in_reader(self, **options: Any) -> Connection:
        """Raises SandboxUnavailable."""
        self.has_ended()  # by an assertion: connects again
        try:
            return self.server.log_in(self.reader_name, **options)
        except (pymysql.Error, OSError) as error:
            raise SandboxUnavailable(MYSQL, errors.describe_refusal(error)) from None

    def count_rows(self, reader: Any, tables: Rows, outcome: Outcome) -> None:
        self.default = next((database for database, _table in tables), self.default)
        # Also for a single database: its tables keep their names when the dump gets a second one.
        names = {database: f"{name}." for name, database in self.databases.items()}
        for database, table in tables:
            try:
                ((count,),) = fetch(reader, f"SELECT COUNT(*) FROM {quote(database)}.{quote(table)}")  # noqa: S608
            except pymysql.Error as error:
                self.limits.raise_if_reached()
                if errors.is_lost(error):
                    raise
                outcome.fail(errors.describe(error, ["SELECT"], quote(table)))
            else:
                outcome.rows[f"{names.get(database, '')}{table}"] = count

    def evaluate(self, query: str) -> Rows:
        """Return the first two rows of an assertion's query. Raises Aborted at a limit, QueryFailed."""
        with closing(self.log_in_reader(database=self.default, read_timeout=2 * QUERY_SECONDS)) as reader:
            fetch(reader, "SET SESSION TRANSACTION READ ONLY")
            is_mariadb = self.server.product == MARIADB
            limit = "max_statement_time = %s" if is_mariadb else "max_execution_time = %s"
            fetch(reader, f"SET SESSION {limit}", QUERY_SECONDS if is_mariadb else 1000 * QUERY_SECONDS)
            self.meter.statement += 1
            try:
                with self.watched():
                    return self.first_rows(reader, query)
            except (pymysql.Error, OSError, MemoryError, UnicodeError) as error:
                self.limits.raise_if_reached()
                raise QueryFailed(self.with_names_of_dump(str(error.args[-1] if error.args else error))) from None

    def first_rows(self, reader: Any, query: str) -> Rows:
        cursor = reader.cursor(SSCursor)
        try:
            cursor.execute(query)
        except pymysql.Error as error:
            if not (self.databases and errors.misses_database(error)):
                raise
            cursor.execute(statements.rename_databases(query.encode(), self.databases))
        try:
            return list(cursor.fetchmany(2)) if cursor.description else []
        finally:
            forget_result(cursor)


def sweep_databases(task: dict[str, Any]) -> None:
    """Drop what drills that were killed have left on the server, if there is one. Raises SandboxUnavailable."""
    if not (url := task["mysql_url"]):
        return
    try:
        with closing(connect(parse_url(url), read_timeout=ANSWER_SECONDS)) as admin:
            drop_leftovers(Server(url, admin))
    except (pymysql.Error, OSError) as error:
        raise SandboxUnavailable(MYSQL, errors.describe_refusal(error)) from None
