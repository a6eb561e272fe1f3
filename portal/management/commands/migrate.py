"""`manage.py migrate`, which on PostgreSQL lets others go first where a table is in use.

A statement that waits for a table's lock makes every later query of that table wait behind it. So a migration waits a
moment only, gives up, and is tried again.
"""

import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from psycopg.errors import LockNotAvailable

LOCK_SECONDS, PAUSE_SECONDS, TRIES = 2, 3, 60


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.vendor != "postgresql":
            super().handle(*args, **options)
            return
        for _ in range(TRIES):
            try:
                with connection.execute_wrapper(wait_a_moment):
                    super().handle(*args, **options)
                return
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                self.stderr.write(f"A table is in use. Trying again in {PAUSE_SECONDS} s.")
                time.sleep(PAUSE_SECONDS)
        raise CommandError("A table has been in use for minutes: end what reads or writes it, then migrate again.")


def wait_a_moment(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Bound how long a statement that changes a table waits for its lock.

    Not outside a transaction, where indexes are built concurrently: they wait for others and let them go on. Any other
    change of a table belongs into a migration with a transaction.
    """
    if context["connection"].in_atomic_block and sql.lstrip().upper().startswith(("ALTER", "CREATE", "DROP")):
        context["cursor"].cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    return execute(sql, params, many, context)
