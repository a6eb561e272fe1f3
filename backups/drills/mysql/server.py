"""Make and remove the databases and users of a drill on a server of MySQL or MariaDB.

Those of one drill share a name. An empty database of that name marks them: it is made first and dropped last. Whoever
holds the lock of that name (`GET_LOCK`) is at work on them; what nobody holds was left by a kill, and is swept.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pymysql
from pymysql.constants import ER

from backups.drills.outcomes import MARIADB, MYSQL, SandboxUnavailable
from backups.drills.recognition import DumpKind

PREFIX = "vigie_drill_"
NAME = re.compile(PREFIX + "[0-9a-f]{16}")
CONNECT_SECONDS, ANSWER_SECONDS, LOCK_SECONDS = 10, 60, 20
# They read files or connect to other machines without asking for a privilege.
REFUSED_ENGINES = ("CONNECT", "FEDERATED", "MROONGA", "OQGRAPH", "S3", "SPIDER", "SPHINX")
OPEN_TO_ALL = frozenset({"information_schema", "performance_schema"})
ARIA_PAGE_BYTES = 8192
MARIADB_TABLESPACES, MYSQL_TABLESPACES = "INNODB_SYS_TABLESPACES", "INNODB_TABLESPACES"
SESSION_COLUMNS = (
    "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema'"
    " AND TABLE_NAME = 'PROCESSLIST' AND COLUMN_NAME IN ('MEMORY_USED', 'TMP_SPACE_USED')"
)
Connection = Any  # PyMySQL has no types
Rows = list[tuple[Any, ...]]


def parse_url(url: str) -> dict[str, Any]:
    """Return arguments of a connection from `mysql://user:password@host:port?unix_socket=path`.

    Raises SandboxUnavailable.
    """
    try:
        parts = urlsplit(url)
        options = {"host": parts.hostname or "localhost", "port": parts.port or 3306}
    except ValueError:
        raise SandboxUnavailable(MYSQL, {"code": "mysql_url_malformed"}) from None
    found = {"user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    socket = parse_qs(parts.query).get("unix_socket")
    # PyMySQL would prepare TLS for each connection, also to a socket of this machine, and that takes 16 ms.
    return options | found | ({"unix_socket": socket[0], "ssl_disabled": True} if socket else {})


def connect(arguments: dict[str, Any], **options: Any) -> Connection:
    """Raises pymysql.Error."""
    defaults = {"charset": "utf8mb4", "autocommit": True, "local_infile": False, "connect_timeout": CONNECT_SECONDS}
    return pymysql.connect(**defaults | arguments | options)


def fetch(connection: Connection, sql: str, *values: Any) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall())


def forget_result(cursor: Any) -> None:
    """Forget an unfinished result, which PyMySQL would try to read to its end when it is collected."""
    if cursor._result is not None:
        cursor._result.unbuffered_active = False


def quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def escape_pattern(name: str) -> str:
    return name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")


def drop_leftovers(server: Server) -> None:
    databases = fetch(server.admin, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
    names = {found[0] for (database,) in databases if (found := NAME.match(database))}
    for name in sorted(names):
        if fetch(server.admin, "SELECT GET_LOCK(%s, 0)", name) == [(1,)]:
            try:
                server.drop(name)
            finally:
                fetch(server.admin, "SELECT RELEASE_LOCK(%s)", name)


class Server:
    """The server, as its administrator sees it. Methods raise pymysql.Error."""

    def __init__(self, url: str, admin: Connection) -> None:
        self.arguments, self.admin = parse_url(url), admin
        # Accounts of a drill connect from where the administrator does.
        ((version, account, has_events),) = fetch(admin, "SELECT VERSION(), CURRENT_USER(), @@event_scheduler <> 'OFF'")
        self.product = MARIADB if "mariadb" in version.lower() else MYSQL
        self.version = "-".join(version.split("-")[:2]) if self.product == MARIADB else version.split("-")[0]
        self.number = to_number(self.version)
        self.has_events, self.host = bool(has_events), account.rpartition("@")[2]

    @property
    def label(self) -> str:
        return f"{'MariaDB' if self.product == MARIADB else 'MySQL'} {self.version.partition('-')[0]}"

    def is_other_than(self, kind: DumpKind) -> bool:
        """Return True if the dump is of another product or of a later version."""
        return self.product != kind.engine or to_numbers(kind.version) > to_numbers(self.version)

    def reads_comment(self, mark: bytes, version: int) -> bool:
        """Return True if the server runs the content of a comment `/*!version`, or `/*M!version` with the mark M."""
        if mark and self.product != MARIADB:
            return False
        # MySQL's versions that MariaDB does not follow.
        is_foreign = self.product == MARIADB and not mark and 50700 <= version <= 99999
        return version <= self.number and not is_foreign

    def local_folders(self) -> list[str]:
        """Return the folders of tables and temporary files of a server on this machine. One elsewhere has none."""
        ((host, *found),) = fetch(self.admin, "SELECT @@hostname, @@datadir, @@tmpdir, @@innodb_tmpdir")
        # There may be several for temporary files.
        return [folder for part in found if part for folder in part.split(":")] if host == socket.gethostname() else []

    def account(self, user: str) -> str:
        return f"{quote(user)}@{quote(self.host)}"

    def create(self, name: str) -> None:
        """Make the databases `name` and `name_0`, and two users of the databases `name_...`.

        Events would change rows while they are counted, so there are none where the server runs them. Dumps have no
        temporary tables, whose size nobody could see.
        """
        writer, reader = users_of(name)
        pattern = f"{quote(escape_pattern(name + '_') + '%')}.*"
        fetch(self.admin, "SELECT GET_LOCK(%s, 0)", name)
        fetch(self.admin, f"CREATE DATABASE {quote(name)}")
        for user in (writer, reader):
            fetch(self.admin, f"CREATE USER {self.account(user)} IDENTIFIED BY '{secrets.token_urlsafe(24)}aA1-'")
        fetch(self.admin, f"GRANT ALL ON {pattern} TO {self.account(writer)}")
        refused = "CREATE TEMPORARY TABLES, EVENT" if self.has_events else "CREATE TEMPORARY TABLES"
        fetch(self.admin, f"REVOKE {refused} ON {pattern} FROM {self.account(writer)}")
        fetch(self.admin, f"GRANT SELECT, SHOW VIEW ON {pattern} TO {self.account(reader)}")
        fetch(self.admin, f"CREATE DATABASE {quote(name + '_0')} CHARACTER SET utf8mb4")

    def log_in(self, user: str, **options: Any) -> Connection:
        """Return a connection of a drill's user, whose password is a new one each time."""
        password = secrets.token_urlsafe(24) + "aA1-"
        fetch(self.admin, f"ALTER USER {self.account(user)} IDENTIFIED BY '{password}'")
        return connect(self.arguments | {"user": user, "password": password}, **options)

    def refuse_unsafe(self, user: str) -> None:
        """Raises SandboxUnavailable if a drill's user could reach something outside its databases."""
        engines = fetch(self.admin, "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')")
        if refused := sorted(set(REFUSED_ENGINES).intersection(engine.upper() for (engine,) in engines)):
            raise SandboxUnavailable(MYSQL, {"code": "engines_reach_outside", "engines": ", ".join(refused)})
        with closing(self.log_in(user)) as session:
            others = {name for (name,) in fetch(session, "SHOW DATABASES")} - OPEN_TO_ALL
        if others := {name for name in others if not name.startswith(PREFIX)}:
            raise SandboxUnavailable(MYSQL, {"code": "databases_open_to_all", "databases": ", ".join(sorted(others))})
        with suppress(pymysql.Error):  # not every administrator may read it
            if fetch(self.admin, "SELECT name FROM mysql.func"):
                raise SandboxUnavailable(MYSQL, {"code": "functions_of_libraries"})

    # --- Removal -----------------------------------------------------------------------------------------------------

    def end_sessions(self, users: Iterable[str]) -> None:
        """Kill what the users run, as these users: that needs no privilege."""
        for user in users:
            try:
                session = self.log_in(user)
            except pymysql.Error:  # not yet made, or dropped
                continue
            with closing(session):
                found = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s AND ID <> CONNECTION_ID()"
                for (number,) in fetch(session, found, user):
                    with suppress(pymysql.Error):  # it has ended
                        fetch(session, f"KILL {number:d}")

    def drop(self, name: str) -> None:
        """Drop everything of the drill of that name, whatever of it there is."""
        users = users_of(name)
        fetch(self.admin, f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        self.end_sessions(users)
        try:
            self.drop_databases(name)
        except pymysql.OperationalError as error:
            if error.args[0] != ER.LOCK_WAIT_TIMEOUT:
                raise
            self.roll_back_prepared()
            self.drop_databases(name)
        for user in users:
            fetch(self.admin, f"DROP USER IF EXISTS {self.account(user)}")
        fetch(self.admin, f"DROP DATABASE IF EXISTS {quote(name)}")

    def drop_databases(self, name: str) -> None:
        databases = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE %s"
        for (database,) in fetch(self.admin, databases, escape_pattern(name + "_") + "%"):
            fetch(self.admin, f"DROP DATABASE IF EXISTS {quote(database)}")

    def roll_back_prepared(self) -> None:
        """Roll back prepared distributed transactions, whose locks outlive their session.

        Dumps cannot prepare any. The server doesn't say whose they are, so they are left alone until they block it.
        """
        is_mariadb = self.product == MARIADB
        for form, length, _rest, name in fetch(
            self.admin, "XA RECOVER FORMAT='SQL'" if is_mariadb else "XA RECOVER CONVERT XID"
        ):
            if not is_mariadb:
                start = 2 + 2 * length
                name = f"{name[:start]},0x{name[start:]},{form}" if name[start:] else f"{name},'',{form}"
            with suppress(pymysql.Error):  # its session goes on
                fetch(self.admin, f"XA ROLLBACK {name}")


def users_of(name: str) -> tuple[str, str]:
    """Return the users of a drill: the one that restores, and the one that reads."""
    return name, f"{name}_r"


class Meter:
    """Measures what a drill takes on the server, in bytes, beside the connection that restores."""

    def __init__(self, server: Server, name: str) -> None:
        self.admin, self.pattern, self.users = (
            server.admin,
            escape_pattern(name + "_") + "%",
            escape_pattern(name) + "%",
        )
        self.parts = dict[str, int]()
        table = MARIADB_TABLESPACES if server.product == MARIADB else MYSQL_TABLESPACES
        self.tablespaces = f"SELECT COALESCE(SUM(FILE_SIZE), 0) FROM information_schema.{table} WHERE NAME"  # noqa: S608
        try:
            fetch(self.admin, f"{self.tablespaces} = ''")
        except pymysql.Error:  # it takes the privilege PROCESS
            self.tablespaces = ""
        # Memory, and since MariaDB 11.5 temporary files and tables. MySQL says neither.
        self.columns = [name for (name,) in fetch(self.admin, SESSION_COLUMNS)]
        self.counts_spilled = server.product == MARIADB and "TMP_SPACE_USED" not in self.columns
        # The statement that runs, which the drill counts, and what was found at the last measurement.
        self.statement, self.last, self.written, self.spilled = 0, (0, "", 0), 0, 0
        self.system, self.undo = 0, 0
        # A table may be locked while it is made. `Server.drop` waits longer.
        fetch(self.admin, "SET SESSION lock_wait_timeout = 1")

    def measure(self) -> int:
        """Return what tables take, and statements in memory and shared files; parts may be of last time."""
        for part in (self._measure_tablespaces, self._measure_others, self._measure_sessions, self._measure_shared):
            with suppress(pymysql.Error, OSError):
                self.parts[part.__name__] = part()
        return sum(self.parts.values())

    def measure_tables(self) -> int:
        return self._measure_tablespaces() + self._measure_others()

    def _measure_tablespaces(self) -> int:
        return self._fetch_sum(f"{self.tablespaces} LIKE %s", self.pattern) if self.tablespaces else 0

    def _measure_others(self) -> int:
        """Return the size of the tables that have no tablespaces, as the server estimates it."""
        sums = "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES"
        sums += " WHERE TABLE_SCHEMA LIKE %s AND TABLE_TYPE <> 'VIEW'"
        sums += " AND ENGINE <> 'InnoDB'" if self.tablespaces else ""
        return self._fetch_sum(sums, self.pattern)

    def _measure_sessions(self) -> int:
        """Return the bytes that the drill's sessions hold, as far as the server says."""
        if not self.columns:
            return 0
        used = f"SELECT COALESCE(SUM({' + '.join(self.columns)}), 0) FROM information_schema.PROCESSLIST"  # noqa: S608
        return self._fetch_sum(f"{used} WHERE USER LIKE %s", self.users)

    def _measure_shared(self) -> int:
        """Return what the drill has added to files of all users.

        These are the undo logs in tablespaces of the system, and the temporary tables that MariaDB has written for the
        statement that runs. The server doesn't say whose growth it is, so what grows while somebody else is connected
        is left out. Without PROCESS nobody else would be seen.
        """
        if not self.tablespaces:
            return 0
        statement = self.statement
        variables = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Aria_pagecache_writes', 'Connections')"
        found: dict[str, str] = dict(fetch(self.admin, variables))
        system = self._fetch_sum(f"{self.tablespaces} NOT LIKE %s", "%/%")
        sessions = "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
        sessions += " WHERE USER NOT LIKE %s AND ID <> CONNECTION_ID() AND COMMAND <> 'Daemon'"
        others = self._fetch_sum(sessions, self.users)
        written = int(found["Aria_pagecache_writes"]) * ARIA_PAGE_BYTES if self.counts_spilled else 0
        now = (statement, found["Connections"], others)
        is_alone = now[1:] == self.last[1:] and not others
        if is_alone:
            self.undo += system - self.system
        if statement != self.last[0]:
            self.spilled = 0
        elif is_alone:
            self.spilled += written - self.written
        self.last, self.written, self.system = now, written, system
        return self.undo + self.spilled

    def _fetch_sum(self, query: str, value: str) -> int:
        return int(fetch(self.admin, query, value)[0][0])


def to_numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def to_number(version: str) -> int:
    """Return a version as executable comments have it: 101106 is 10.11.6."""
    major, minor, patch, *_rest = *map(int, re.findall(r"\d+", version)), 0, 0, 0
    return major * 10000 + minor * 100 + patch
