"""Waiting for a database that is away: an absent dependency is no failure of ours."""

import logging
import time
from collections.abc import Callable

from django.db import Error, connections

from portal.base.failures import error_line

log = logging.getLogger("vigie.database")
LOOK_SECONDS = 1.0
REPEAT_SECONDS = 30.0


def database_failure() -> str:
    """Return why the database does not answer, or "" if it does."""
    connection = connections["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        connection.close()
        return error_line(error)
    return ""


def wait_for_database(is_ending: Callable[[], bool]) -> bool:
    """Wait until the database answers, and log it. Return False if the process is asked to end first."""
    next_line = float("-inf")
    while not is_ending():
        why = database_failure()
        if not why:
            return True
        if time.monotonic() >= next_line:
            log.error("the database does not answer, and is waited for (see DATABASE_URL): %s", why)
            next_line = time.monotonic() + REPEAT_SECONDS
        time.sleep(LOOK_SECONDS)
    return False
