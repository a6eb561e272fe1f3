"""Try the query of an assertion on an empty copy of the schema that the last drill has kept."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass

from django.utils.translation import gettext as _

from backups.drills import children
from backups.drills.assertions import AT_LEAST, Assertion, Value, to_moment
from backups.drills.outcomes import SandboxUnavailable
from backups.models import ExpectedBackupJob, RestoreDrill
from backups.reasons import format_error, to_single_line
from portal.base.words import format_count, format_moment

# The user waits for it, and a thread of the web server with them.
SECONDS = 20
one_at_a_time = threading.BoundedSemaphore(1)


@dataclass(frozen=True)
class Trial:
    """Result of a trial: `is_ok` if the query returns one value, and a sentence about it."""

    is_ok: bool
    message: str


def format_value(value: Value) -> str:
    """Format the value of an assertion: a number, a truth value as SQL writes it, or a time."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return format_count(value)
    moment = to_moment(value) if isinstance(value, str) and "T" in value else None
    return format_moment(moment) if moment else str(value)


def try_query(job: ExpectedBackupJob, query: str) -> Trial:
    drill = job.drills.with_schema().order_by("-id").first()
    if drill is None:
        return Trial(False, _("The query can’t be tried yet: a restore drill must restore the backup first."))
    if not one_at_a_time.acquire(blocking=False):
        return Trial(False, _("Another query is running. Try again in a few seconds."))
    try:
        return run_query(drill, query)
    except SandboxUnavailable as error:
        return Trial(False, _("The sandbox can’t be used: %(why)s") % {"why": format_error(error.why)})
    finally:
        one_at_a_time.release()


def run_query(drill: RestoreDrill, query: str) -> Trial:
    """Restore the schema alone, and run the query on it. Raises SandboxUnavailable."""
    with tempfile.TemporaryFile() as file:
        file.write(drill.schema.encode())
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        kind = {"engine": drill.engine, "version": drill.version}
        assertion = Assertion("", query, AT_LEAST, "0")
        outcome = children.restore_dump(
            file.fileno(), "schema.dump", assertions=[assertion], kind=kind, seconds=SECONDS
        )
    if not outcome.assertions:
        why = format_error(outcome.errors[0]) if outcome.errors else ""
        return Trial(False, _("The copy of the schema can’t be made. %(why)s") % {"why": why})
    result = outcome.assertions[0]
    if "error" in result:
        why = to_single_line(format_error(result["error"]))
        return Trial(False, why if "code" in result["error"] else _("The query fails: %(why)s") % {"why": why})
    if result["value"] is None:  # or a text, which is not kept
        return Trial(True, _("The query returns one value."))
    return Trial(
        True,
        _("The query returns one value. If all tables are empty, it is %(value)s.")
        % {"value": format_value(result["value"])},
    )
