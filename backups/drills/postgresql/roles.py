"""Create and drop what a drill needs on a PostgreSQL server: a role that may do little, and databases of its own.

An advisory lock, which the connection of the administrator holds, says that a drill is alive. Whatever bears the name
of a drill whose lock is free was left by a kill, and is swept.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from backups.drills.outcomes import POSTGRESQL, SandboxUnavailable
from backups.drills.postgresql.sizes import Sizes

OLDEST_VERSION = 130000  # DROP DATABASE ... WITH (FORCE)
GRANT_OPTIONS_SINCE = 160000
CONNECT_SECONDS = 10
NAME = re.compile(r"(vigie_drill_[0-9a-f]{16})(?:_[a-z0-9]+)?")
# How long a server may take to notice that the holder of a lock is gone.
RELEASE_MS = 5_000
# How long a server may take to recover from a crash.
RECOVERY_SECONDS, POLL_SECONDS = 30, 0.1
# A dump may create databases by the thousand.
MAX_DATABASES = 100
LEFTOVERS = (
    "SELECT datname FROM pg_catalog.pg_database WHERE datname LIKE 'vigie\\_drill\\_%'"
    " UNION SELECT rolname FROM pg_catalog.pg_roles WHERE rolname LIKE 'vigie\\_drill\\_%'"
)
# What only a superuser may set for a role: nothing of the dump goes to the server's log.
UNLOGGED = {
    "log_statement": "none",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_duration": "off",
}


def connect_as_admin(url: str) -> psycopg.Connection:
    """Raises SandboxUnavailable."""
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        connection.execute("SET search_path = pg_catalog, pg_temp")
    except psycopg.Error as error:
        raise SandboxUnavailable(POSTGRESQL, str(error).strip()) from None
    if connection.info.server_version < OLDEST_VERSION:
        connection.close()
        raise SandboxUnavailable(POSTGRESQL, {"code": "postgresql_too_old"})
    return connection


def lock_key(name: str) -> int:
    """Return the key of the advisory lock of a drill."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def sweep(url: str) -> None:
    """Drop the databases and roles of drills that were killed. Raises SandboxUnavailable."""
    with connect_as_admin(url) as admin:
        sweep_leftovers(admin, RELEASE_MS)


def sweep_leftovers(admin: psycopg.Connection, patience_ms: int) -> None:
    found = (NAME.fullmatch(row[0]) for row in admin.execute(LEFTOVERS))
    for name in {match[1] for match in found if match}:
        with only_if_free(admin, name, patience_ms) as is_free:
            if is_free:
                drop_all(admin, name)


@contextmanager
def only_if_free(admin: psycopg.Connection, name: str, patience_ms: int) -> Iterator[bool]:
    """Hold the lock of a drill during the block if nobody else does."""
    admin.execute(sql.SQL("SET lock_timeout = {}").format(patience_ms))
    try:
        admin.execute("SELECT pg_advisory_lock(%s)", [lock_key(name)])
    except psycopg.errors.LockNotAvailable:
        yield False
        return
    finally:
        admin.execute("RESET lock_timeout")
    try:
        yield True
    finally:
        with suppress(psycopg.Error):
            admin.execute("SELECT pg_advisory_unlock(%s)", [lock_key(name)])


def drop_all(admin: psycopg.Connection, name: str) -> list[str]:
    """Drop the databases and roles of a drill, and end their sessions. Return what could not be dropped, and why.

    That is left to a sweep.
    """
    databases = "SELECT datname FROM pg_database WHERE datname = %(name)s OR starts_with(datname, %(prefix)s)"
    roles = "SELECT rolname FROM pg_roles WHERE rolname = %(name)s OR starts_with(rolname, %(prefix)s)"
    left = []
    for query, drop in ((databases, drop_database), (roles, drop_role)):
        for (found,) in admin.execute(query, {"name": name, "prefix": f"{name}_"}).fetchall():
            try:
                drop(admin, name, found)
            except psycopg.Error as error:
                left.append(f"{found}: {error.diag.message_primary or type(error).__name__}")
    return left


def drop_database(admin: psycopg.Connection, role: str, database: str) -> None:
    """Raises psycopg.Error."""
    named = sql.Identifier(database)
    # Its owner, the dump, may have forbidden what follows.
    grant_role(admin, role)
    admin.execute(
        sql.SQL("ALTER DATABASE {} IS_TEMPLATE false ALLOW_CONNECTIONS true CONNECTION LIMIT -1").format(named)
    )
    roll_back_prepared(admin, role, database)
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))


def drop_role(admin: psycopg.Connection, _owner: str, role: str) -> None:
    """Raises psycopg.Error."""
    admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def grant_role(admin: psycopg.Connection, role: str) -> None:
    """Let an administrator who is no superuser act as the role. Raises psycopg.Error."""
    if admin.info.parameter_status("is_superuser") == "on":
        return
    # Since 16, whoever creates a role may administer it, but not use it.
    options = " WITH INHERIT TRUE, SET TRUE" if admin.info.server_version >= GRANT_OPTIONS_SINCE else ""
    admin.execute(sql.SQL(f"GRANT {{}} TO CURRENT_USER{options}").format(sql.Identifier(role)))


def roll_back_prepared(admin: psycopg.Connection, role: str, database: str) -> None:
    """Roll back prepared transactions, which would keep the database from being dropped."""
    prepared = admin.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [database]).fetchall()
    if not prepared:
        return
    dsn = make_conninfo(admin.info.dsn, password=admin.info.password, dbname=database)
    with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as inside:
        inside.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        for (gid,) in prepared:
            inside.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))


class DrillRole:
    """The roles and databases of one drill, whose lock is held until `close`. Raises SandboxUnavailable.

    `name` is the role that owns the databases, of which the first has the same name; `reader` may only read.
    """

    def __init__(self, url: str, max_bytes: int | None) -> None:
        self.url = url
        self.admin = connect_as_admin(url)
        self.name = f"vigie_drill_{secrets.token_hex(8)}"
        self.reader = f"{self.name}_reader"
        self.databases: list[str] = []
        self.is_stopped = False
        self._password = secrets.token_hex(24)
        try:
            self._create(max_bytes)
        except psycopg.Error as error:
            with suppress(SandboxUnavailable):  # of a consequence
                self.close()
            raise SandboxUnavailable(POSTGRESQL, str(error).strip()) from None

    def _create(self, max_bytes: int | None) -> None:
        sweep_leftovers(self.admin, 1)
        self.admin.execute("SELECT pg_advisory_lock(%s)", [lock_key(self.name)])
        self.is_superuser = self.admin.info.parameter_status("is_superuser") == "on"
        self.sizes = Sizes(self.admin)
        for role in (self.name, self.reader):
            self._create_role(role, max_bytes)
        self.create_database()

    def _create_role(self, role: str, max_bytes: int | None) -> None:
        self._execute(
            "CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {password}", role
        )
        if not self.is_superuser:
            grant_role(self.admin, role)
            return
        limit = {"temp_file_limit": str(max_bytes // 1024)} if max_bytes else {}
        for setting, value in (UNLOGGED | limit).items():
            self._execute(f"ALTER ROLE {{role}} SET {setting} = '{value}'", role)

    def _execute(self, statement: str, role: str) -> None:
        names = {"role": sql.Identifier(role), "password": sql.Literal(self._password)}
        self.admin.execute(sql.SQL(statement).format(**names))

    @property
    def server_version(self) -> int:
        return self.admin.info.server_version

    def create_database(self) -> str:
        """Return the name of a new empty database. Raises psycopg.Error."""
        name = f"{self.name}_{len(self.databases) + 1}" if self.databases else self.name
        create = "CREATE DATABASE {name} OWNER {role} TEMPLATE template0 ENCODING 'UTF8'"
        names = {"name": sql.Identifier(name), "role": sql.Identifier(self.name)}
        try:
            self.admin.execute(sql.SQL(create).format(**names))
        except psycopg.errors.InvalidParameterValue:  # the server's own locale has another encoding
            self.admin.execute(sql.SQL(f"{create} LOCALE 'C'").format(**names))
        self.databases.append(name)
        return name

    def address(self, database: str, role: str) -> str:
        """Return the connection string of a role for a database of this drill."""
        given: dict[str, Any] = {
            "user": role,
            "password": self._password,
            "dbname": database,
            "connect_timeout": CONNECT_SECONDS,
        }
        return make_conninfo(self.url, **given)

    def measure(self) -> int:
        """Return the bytes of the databases and of their temporary files. Raises psycopg.Error."""
        with self._noticing_stop():
            return self.sizes.measure(self.databases)

    def is_up(self) -> bool:
        """Return whether the administrator's session still answers."""
        with suppress(psycopg.Error), self._noticing_stop():
            self.admin.execute("SELECT 1")
            return True
        return False

    @contextmanager
    def _noticing_stop(self) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.AdminShutdown:  # by its operator: no dump can end this session
            self.is_stopped = True
            raise

    def reconnect(self) -> bool:
        """Return whether the server answers again, as it does soon after a crash."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                admin = connect_as_admin(self.url)
                break
            except SandboxUnavailable:
                if time.monotonic() > deadline:
                    return False
                time.sleep(POLL_SECONDS)
        self.admin.close()
        self.admin = self.sizes.admin = admin
        with suppress(psycopg.Error):
            admin.execute("SELECT pg_advisory_lock(%s)", [lock_key(self.name)])
        return True

    def can_connect(self) -> bool:
        """Return whether the server takes a session that the dump cannot have locked out."""
        try:
            psycopg.connect(self.address(self.admin.info.dbname, self.reader)).close()
        except psycopg.Error:
            return False
        return True

    def end_session(self, pid: int) -> None:
        with suppress(psycopg.Error):
            self.admin.execute("SELECT pg_terminate_backend(%s)", [pid])

    def drop(self) -> list[str]:
        """Drop the databases and roles, which ends whatever runs in them. Return what is left, and why."""
        try:
            return drop_all(self.admin, self.name)
        except psycopg.Error as error:
            return [f"{self.name}: {error.diag.message_primary or type(error).__name__}"]

    def close(self) -> None:
        """Raises SandboxUnavailable if rows of the dump are left on the server."""
        if not self.is_up():
            self.reconnect()
        left = self.drop()
        self.admin.close()
        if left:
            raise SandboxUnavailable(POSTGRESQL, {"code": "not_dropped", "left": "; ".join(left)})
