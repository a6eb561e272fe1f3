"""One at a time, among all processes of this machine and all nodes of this database."""

import contextlib
import fcntl
import zlib
from collections.abc import Iterator

from django.conf import settings
from django.db import connection


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold the lock of this name, waiting for it. The end of the process releases it, however it comes."""
    with open(settings.VIGIE_DATA_DIR / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with held_in_database(name):
            yield


@contextlib.contextmanager
def held_in_database(name: str) -> Iterator[None]:
    """PostgreSQL's advisory lock, on a connection of its own. SQLite lives on one machine, where the file suffices."""
    if connection.vendor != "postgresql":
        yield
        return
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [zlib.crc32(f"vigie.{name}".encode())])
        yield
    finally:
        own.close()
