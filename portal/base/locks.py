"""One at a time, among all processes of this machine and all nodes of this database."""

import contextlib
import fcntl
import time
import zlib
from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper

SECONDS_BETWEEN_TRIES = 0.5


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold the lock of this name, waiting for it. The end of the process releases it, however it comes."""
    with open(settings.VIGIE_DATA_DIR / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with held_in_database(name):
            yield


@contextlib.contextmanager
def held_in_database(name: str) -> Iterator[None]:
    """PostgreSQL's advisory lock, on a connection of its own. SQLite lives on one machine, where the file suffices.

    It is asked for again and again: a query that waits for a lock has a snapshot, and for that CREATE INDEX
    CONCURRENTLY waits, in the process that holds the lock.
    """
    if connection.vendor != "postgresql":
        yield
        return
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            while not is_taken(cursor, name):
                time.sleep(SECONDS_BETWEEN_TRIES)
        yield
    finally:
        own.close()


def is_taken(cursor: CursorWrapper, name: str) -> bool:
    """Take the lock if it is free, and return whether it was."""
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [zlib.crc32(f"vigie.{name}".encode())])
    return bool(cursor.fetchone()[0])
