"""Measure the disk that databases take on a PostgreSQL server, temporary files included."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg
from psycopg import sql

DATABASES = "SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datname = ANY (%s)"
LISTED = (
    "SELECT sum(f.size) FROM pg_ls_tmpdir() f WHERE EXISTS (SELECT FROM pg_stat_activity a"
    " WHERE a.datname = ANY (%s) AND f.name LIKE 'pgsql\\_tmp' || a.pid || '.%%')"
)
# For a role that may not list files: what is in the tablespace beyond the databases that it may measure. Those that it
# may not measure count when they grow.
BEYOND_DATABASES = (
    "SELECT pg_tablespace_size('pg_default') - (SELECT sum(pg_database_size(d.oid)) FROM pg_database d"
    " JOIN pg_tablespace t ON t.oid = d.dattablespace"
    " WHERE t.spcname = 'pg_default' AND has_database_privilege(d.oid, 'CONNECT'))"
)
# A large tablespace takes long to measure: at most this part of the time.
PART_OF_TIME = 20


class Sizes:
    """Sizes in bytes, as the connection of the administrator sees them."""

    def __init__(self, admin: psycopg.Connection) -> None:
        self.admin = admin
        self.next_at, self.temporary = 0.0, 0
        try:
            self._sum(LISTED, [[]])
            self.may_list_files = True
        except psycopg.errors.InsufficientPrivilege:
            self.may_list_files = False
            self.before = self._beyond_databases()

    def measure(self, databases: list[str]) -> int:
        """Return the size of the databases and their temporary files. Raises psycopg.Error."""
        try:
            size = self._sum(DATABASES, [databases])
        except psycopg.errors.InsufficientPrivilege:  # a dump may revoke it
            names = sql.SQL(", ").join(map(sql.Identifier, databases))
            self.admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO CURRENT_USER").format(names))
            size = self._sum(DATABASES, [databases])
        if self.may_list_files:
            return size + self._sum(LISTED, [databases])
        if time.monotonic() > self.next_at:
            started = time.monotonic()
            self.temporary = max(0, self._beyond_databases() - self.before)
            self.next_at = time.monotonic() + PART_OF_TIME * (time.monotonic() - started)
        return size + self.temporary

    def _beyond_databases(self) -> int:
        with suppress(psycopg.Error):  # another default tablespace, or a database that is just being dropped
            return self._sum(BEYOND_DATABASES, None)
        return 0

    def _sum(self, query: str, values: list[list[str]] | None) -> int:
        return int(self.admin.execute(query, values).fetchall()[0][0] or 0)
