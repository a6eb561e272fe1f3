"""A connection that runs the statements of a dump, at the level of libpq, which is several times as fast as cursors."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

import psycopg
from psycopg import pq
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from backups.drills.limits import OUT_OF_MEMORY
from backups.drills.outcomes import DrillError, Reason
from backups.drills.postgresql.statements import Names

_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE, ExecStatus.PIPELINE_ABORTED)
_COPYING = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)
# Notices would go nowhere. A drill is not kept, so it need not wait for the disk.
BEGINNING = b"SET synchronous_commit = off; SET client_min_messages = error; SET statement_timeout = 0"
# Whoever owns a database may add these to it: no privilege keeps a dump from doing so.
LANGUAGES = b"""
    SELECT name FROM pg_catalog.pg_available_extension_versions WHERE trusted AND name LIKE 'pl%'
    UNION SELECT lanname FROM pg_catalog.pg_language WHERE lanpltrusted
    EXCEPT VALUES ('plpgsql'::name), ('sql')
    ORDER BY 1
"""
LOST: Reason = {"code": "session_ended"}
LOCKED_OUT: Reason = {"code": "locked_out"}


class ConnectionLost(DrillError):
    """The session has ended."""


class Session:
    """A session of libpq. Raises psycopg.Error if it cannot be opened, ConnectionLost if it ends."""

    def __init__(self, address: str) -> None:
        self.pgconn: PGconn = pq.PGconn.connect(address.encode())
        if self.pgconn.status != ConnStatus.OK:
            raise psycopg.OperationalError(self.pgconn.error_message.decode(errors="replace"))
        self.socket = self.pgconn.socket
        self.ask(BEGINNING)

    def run(self, statement: bytes, rows: Callable[[], Iterable[bytes]] = tuple) -> PGresult:
        """Run a statement and return its first error, or its last result. COPY FROM STDIN takes the rows."""
        result = self.pgconn.exec_(statement)
        while result.status in _COPYING:
            result = self._copy(result, rows)
            rows = tuple
        if self.pgconn.status != ConnStatus.OK:
            # libpq gives up a connection for whose result it has no memory.
            raise ConnectionLost(OUT_OF_MEMORY if b"memory" in self.pgconn.error_message else LOST)
        return result

    def ask(self, statement: bytes) -> PGresult:
        """Run a statement of ours. Raises psycopg.OperationalError if it fails."""
        result = self.run(statement)
        if is_failed(result):
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        return result

    def trusted_languages(self) -> list[str]:
        """Return the languages besides SQL and PL/pgSQL in which the owner of the database may write functions.

        Raises psycopg.OperationalError.
        """
        found = self.ask(LANGUAGES)
        return [(found.get_value(row, 0) or b"").decode() for row in range(found.ntuples)]

    def has_names(self, names: Names) -> bool:
        """Return whether the database has these names, which cannot be said in a failed transaction."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        # Another encoding could give the quotes in the query another meaning.
        if self.pgconn.parameter_status(b"client_encoding") != b"UTF8":
            return False
        return self.run(names.search()).ntuples == 1

    def _copy(self, begun: PGresult, rows: Callable[[], Iterable[bytes]]) -> PGresult:
        """Finish a COPY, and return its error or what comes after it."""
        if begun.status == ExecStatus.COPY_OUT:
            while self.pgconn.get_copy_data(0)[0] >= 0:
                pass
        else:
            self._send(rows())
        result = begun
        while (following := self.pgconn.get_result()) is not None:
            if following.status in _COPYING:
                return following
            if result.status not in _FAILED:
                result = following
        return result

    def _send(self, rows: Iterable[bytes]) -> None:
        # A blocking connection would hold the interpreter's lock while the server takes no data.
        self.pgconn.nonblocking = 1
        try:
            for piece in rows:
                self.pgconn.put_copy_data(piece)
                self._flush()
            self.pgconn.put_copy_end()
            self._flush()
        except psycopg.OperationalError:
            raise ConnectionLost(LOST) from None
        finally:
            with suppress(psycopg.Error):
                self.pgconn.nonblocking = 0

    def _flush(self) -> None:
        while self.pgconn.flush():
            readable, _writable, _failed = select.select([self.socket], [self.socket], [])
            if readable:
                self.pgconn.consume_input()

    def interrupt(self) -> None:
        """Wake the thread that waits for the server, from another one."""
        with suppress(OSError), socket.socket(fileno=os.dup(self.socket)) as copied:
            copied.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.pgconn.finish()


def is_failed(result: PGresult) -> bool:
    return result.status in _FAILED
