"""One at a time, among all processes of this machine and all nodes of this database."""

import contextlib
import fcntl
import logging
import time
import zlib
from collections.abc import Callable, Iterator

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

log = logging.getLogger("vigie.locks")
SECONDS_BETWEEN_TRIES = 0.5
SECONDS_BEFORE_LOG_LINE = 10
# Longer than an index of the largest tables takes.
LONGEST_WAIT_SECONDS = 3600


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold the lock of this name, waiting for it. The end of the process releases it, however it comes."""
    with open(settings.VIGIE_DATA_DIR / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with held_in_database(name):
            yield


@contextlib.contextmanager
def held_in_database(name: str, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Hold an advisory lock of PostgreSQL, on a connection of its own. SQLite needs none: its file is on one machine.

    The lock is polled for. A query that waits for a lock would have a snapshot, and CREATE INDEX CONCURRENTLY waits
    until older snapshots end: the process with the lock would wait for the one without it, for ever. The lock belongs
    to a transaction, which has no snapshot between its queries, and which a pooler leaves on one connection.

    Raises TimeoutError.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        yield
        return
    own = connection.copy()
    try:
        own.set_autocommit(False)
        wait_for_lock(name, lambda: try_lock(own, name))
        yield
    finally:
        own.close()


def wait_for_lock(name: str, take: Callable[[], bool]) -> None:
    """Try to take the lock until that succeeds, and log once that it takes long. Raises TimeoutError."""
    started, is_logged = time.monotonic(), False
    while not take():
        waited = time.monotonic() - started
        if waited >= LONGEST_WAIT_SECONDS:
            raise TimeoutError(
                f"The database lock {name!r} was not free for {LONGEST_WAIT_SECONDS // 60} minutes. End the process "
                "that holds it (pg_locks, locktype 'advisory')."
            )
        if waited >= SECONDS_BEFORE_LOG_LINE and not is_logged:
            log.warning("waiting for the database lock %r, which another process holds", name)
            is_logged = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def try_lock(own: BaseDatabaseWrapper, name: str) -> bool:
    """Take the lock until the end of the transaction if it is free, and return whether it was."""
    with own.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [zlib.crc32(f"vigie.{name}".encode())])
        is_taken = bool(cursor.fetchone()[0])
    if not is_taken:
        own.rollback()
    return is_taken
