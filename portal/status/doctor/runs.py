"""Run the checks side by side, all within one deadline, whatever hangs or raises."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, transaction
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _

from portal.base.env import SQLITE, split_service_url
from portal.base.failures import error_line
from portal.base.logs import redact_tokens
from portal.base.private_files import GENERATED_SECRETS
from portal.egress.store_address import parse_store_url
from portal.settings import env
from portal.status.doctor.registry import (
    DATABASE,
    MIGRATIONS,
    CheckResult,
    DoctorCheck,
    Group,
    Needs,
    Status,
    doctor_checks,
    failure,
    warning,
)
from portal.status.doctor.report import STATUSES

log = logging.getLogger("vigie.doctor")
# No check takes longer, and so neither do all of them together.
DEADLINE_SECONDS = 10.0
CONNECT_SECONDS, STATEMENT_SECONDS = 5, 2
# Runs in this process. A check that hangs keeps its threads until it ends.
MOST_AT_ONCE = 3
SHORTEST_SECRET = 6
_runs: list[list[threading.Thread]] = []
_runs_lock = threading.Lock()


class TooManyRuns(Exception):
    """Other runs of this process have not ended."""


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    name: str
    status: Status
    detail: str
    hint: str
    group: Group

    def as_json(self) -> dict[str, str]:
        return {key: value for key, value in asdict(self).items() if key != "group"}


def list_checks(*, calls_out: bool) -> list[DoctorCheck]:
    """Return the checks of all apps, with or without those that connect to other servers."""
    return [check for check in doctor_checks.all() if calls_out or not check.calls_out]


def run_checks(checks: Iterable[DoctorCheck], seconds: float = DEADLINE_SECONDS) -> list[Row]:
    """Run the checks and return their rows by group. Raises TooManyRuns."""
    checks = sorted(checks, key=lambda check: (list(Group).index(check.group), check.needs))
    deadline = time.monotonic() + seconds
    on_database = sorted((check for check in checks if check.needs), key=lambda check: check.needs)
    lanes = [Lane([check]) for check in checks if not check.needs]
    lanes += [Lane(on_database, short_connection)] if on_database else []
    start_lanes(lanes)
    for lane in lanes:
        lane.thread.join(max(0.0, deadline - time.monotonic()))
    found = {check.name: rows for lane in lanes for check, rows in lane.outcome(seconds)}
    return [row for check in checks for row in found[check.name]]


def start_lanes(lanes: Sequence["Lane"]) -> None:
    """Start the threads. Raises TooManyRuns."""
    with _runs_lock:
        _runs[:] = [threads for threads in _runs if any(thread.is_alive() for thread in threads)]
        if len(_runs) >= MOST_AT_ONCE:
            raise TooManyRuns
        for lane in lanes:
            lane.thread.start()
        _runs.append([lane.thread for lane in lanes])


def worst_status(rows: Iterable[Row]) -> Status:
    return max((row.status for row in rows), key=STATUSES.index, default="ok")


class Lane:
    """Checks that run one after another in a thread, which is left behind at the deadline."""

    def __init__(self, checks: Sequence[DoctorCheck], context: Callable[[], Any] = nullcontext) -> None:
        self.checks, self.context = checks, context
        self.rows: dict[str, list[Row]] = {}
        self.language = get_language()  # the reader's; each thread has its own
        self.thread = threading.Thread(target=self.run, name="doctor", daemon=True)

    def run(self) -> None:
        with override(self.language), self.context():
            for check in self.checks:
                obstacle = self.find_obstacle(check.needs)
                self.rows[check.name] = [make_row(check, obstacle)] if obstacle else run_check(check)

    def find_obstacle(self, needs: Needs) -> CheckResult | None:
        """Return why a check that needs the database, or its tables, can't run."""
        if needs >= Needs.DATABASE and worst_status(self.rows.get(DATABASE, ())) == "failed":
            return warning(_("Not checked: the database can’t be used."), "")
        if needs >= Needs.TABLES and worst_status(self.rows.get(MIGRATIONS, ())) == "failed":
            return warning(_("Not checked: migrations are missing."), "")
        return None

    def outcome(self, seconds: float) -> Iterator[tuple[DoctorCheck, list[Row]]]:
        """Yield each check with its rows. The first without any is the one that hangs."""
        done = dict(self.rows)
        hint = _("Find out what it waits for, such as a mounted disk, a locked table or a server.")
        late = failure(_("No result within %(seconds)g seconds.") % {"seconds": seconds}, hint)
        for check in self.checks:
            if check.name in done:
                yield check, done[check.name]
            else:
                yield check, [make_row(check, late)]
                late = warning(_("Not checked: an earlier check did not end."), "")


def run_check(check: DoctorCheck) -> list[Row]:
    """Return the rows of the check, or one that says how it failed."""
    try:
        with bounded_statements() if check.needs >= Needs.DATABASE else nullcontext():
            return [make_row(check, result) for result in check.body()]
    except DatabaseError as error:
        result = failure(error_line(error), _("Check for locked tables, and for errors in the database’s log."))
    except OSError as error:
        text = f"{error.filename or type(error).__name__}: {error.strerror}"
        result = failure(text, _("Check its owner and permissions, and run doctor as the user that runs the portal."))
    except Exception as error:  # its text may hold a secret
        log.exception("the check %s failed", check.name)
        result = failure(_("The check failed: %(error)s.") % {"error": type(error).__name__}, _("View the log."))
    return [make_row(check, result)]


def make_row(check: DoctorCheck, result: CheckResult) -> Row:
    detail, hint = redact(result.detail), redact(result.hint)
    return Row(result.name or check.name, result.status, detail, hint, check.group)


# --- The database ----------------------------------------------------------------------------------------------------


@contextmanager
def short_connection() -> Iterator[None]:
    """Give this thread a connection of its own, which waits briefly and changes nothing, not even a missing file."""
    own = connections.create_connection(DEFAULT_DB_ALIAS)
    options = dict(own.settings_dict["OPTIONS"])
    if own.vendor == "sqlite":
        options |= {"timeout": STATEMENT_SECONDS, "init_command": "PRAGMA query_only = 1"}
    else:
        options["connect_timeout"] = CONNECT_SECONDS
    own.settings_dict = {**own.settings_dict, "OPTIONS": options, "CONN_MAX_AGE": 0}
    connections[DEFAULT_DB_ALIAS] = own
    try:
        yield
    finally:
        own.close()
        del connections[DEFAULT_DB_ALIAS]


@contextmanager
def bounded_statements() -> Iterator[None]:
    """Let the block read only, each statement within its time.

    SQLite's connection is read-only already, and a transaction would lock.
    """
    if connection.vendor == "sqlite":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        # Only for this transaction: behind a pooler, others use the session too.
        cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000}")
        cursor.execute("SET LOCAL transaction_read_only = on")
        yield


# --- Secrets ---------------------------------------------------------------------------------------------------------


def redact(text: str) -> str:
    """Return the text without tokens and without passwords of the settings."""
    text = redact_tokens(text)
    for secret in sorted(configured_passwords(), key=len, reverse=True):  # one may be part of another
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return text


def configured_passwords() -> Iterator[str]:
    database = settings.DATABASES[DEFAULT_DB_ALIAS]
    if database["ENGINE"] != SQLITE:
        yield str(database.get("PASSWORD") or "")
    yield from (settings.EMAIL_HOST_PASSWORD, settings.TELEGRAM_BOT_TOKEN)
    for url in (settings.DRILL_POSTGRES_URL, settings.DRILL_MYSQL_URL):
        yield split_service_url(url).get("password", "")
    target = settings.PORTAL_BACKUP_TARGET
    for address in (settings.OFFSITE_URL, parse_store_url(target) if "://" in target else None):
        if address:
            yield from (address.secret, quote(address.secret, safe=""))
    yield from settings.PORTAL_BACKUP_PASSPHRASE.splitlines()  # a key file has several
    # From the environment: settings of this kind are generated when they are read.
    for name in ("OIDC_CLIENT_SECRET", *GENERATED_SECRETS):
        with suppress(ImproperlyConfigured):
            yield env.text(name)
