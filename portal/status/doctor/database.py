"""Checks of the database: whether it answers, its version, journal, encoding and connections."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.failures import error_line
from portal.base.words import format_span
from portal.models import AuditEvent, Heartbeat
from portal.status.doctor.registry import (
    DATABASE,
    MIGRATIONS,
    CheckResult,
    Group,
    Needs,
    doctor_check,
    failure,
    passed,
    warning,
)
from portal.status.health import known_migrations, unapplied_migrations

CLOCK_WARNING, CLOCK_FAILURE = timedelta(seconds=2), timedelta(minutes=1)
# Share of the server's connections that may be in use, and the number that must be left.
BUSY_SHARE, FEWEST_LEFT = 0.8, 3
# Connections of the portal beside those of web threads and workers: each cluster's other processes, and the pulse.
OTHER_CONNECTIONS = 7
SIZE = "SELECT pg_database_size(current_database())"
ENCODING = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
COLLATION = """
    SELECT datcollate, datcollversion, pg_database_collation_actual_version(oid)
    FROM pg_database WHERE datname = current_database()
"""
COLLATION_SINCE = (15,)
CONNECTIONS = """
    SELECT count(*), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


@doctor_check(DATABASE, Group.DATABASE, needs=Needs.CONNECTION)
def reach_database() -> Iterator[CheckResult]:
    """Connect. To ask does not create a missing file of SQLite."""
    hint = _("Start the database server, and compare DATABASE_URL with its address, user, password and database.")
    if connection.vendor == "sqlite":
        hint = _("Check the owner and permissions of the file and its folder, and whether the disk is mounted.")
        path = Path(connection.settings_dict["NAME"])
        if not path.parent.exists() or (os.access(path.parent, os.X_OK) and not path.exists()):
            text = _("There is no database yet: %(path)s does not exist.") % {"path": path}
            yield failure(text, _("Run “manage.py prepare”."))
            return
    try:
        yield passed(describe_database())
    except DatabaseError as error:
        connection.close()
        yield failure(_("The database does not answer: %(error)s") % {"error": error_line(error)}, hint)


def describe_database() -> str:
    if connection.vendor == "sqlite":
        path = Path(connection.settings_dict["NAME"])
        ask("SELECT count(*) FROM sqlite_master")  # reads the file, which may be no database
        size = filesizeformat(path.stat().st_size)
        return _("SQLite %(version)s, %(path)s, %(size)s") % {"version": version_text(), "path": path, "size": size}
    values = {"version": version_text(), "name": connection.settings_dict["NAME"], "size": filesizeformat(ask(SIZE)[0])}
    return _("PostgreSQL %(version)s, database %(name)s, %(size)s") % values


def version_text() -> str:
    return ".".join(map(str, connection.get_database_version()))


def ask(sql: str) -> tuple[Any, ...]:
    """Return the only row of the query."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row: tuple[Any, ...] = cursor.fetchone()
        return row


@doctor_check(MIGRATIONS, Group.DATABASE, needs=Needs.DATABASE)
def compare_migrations() -> Iterator[CheckResult]:
    missing, known = unapplied_migrations(), known_migrations()
    if missing:
        text = ngettext("%(count)d migration is missing.", "%(count)d migrations are missing.", len(missing))
        yield failure(text % {"count": len(missing)}, _("Stop the portal, and run “manage.py prepare”."))
        return
    applied = MigrationRecorder(connection).applied_migrations()
    own = {app for app, _name in known}
    later = sorted(f"{app}.{name}" for app, name in applied if app in own and (app, name) not in known)
    if later:
        text = _("The database was migrated by a later version of the portal: %(name)s.") % {"name": later[-1]}
        yield warning(text, _("Run that version, or restore the backup made before the upgrade."))
    else:
        yield passed(_("All applied"))


@doctor_check("journal", Group.DATABASE, needs=Needs.DATABASE)
def check_journal() -> Iterator[CheckResult]:
    """Check SQLite's journal. The portal sets it to WAL at each connection, which some file systems refuse."""
    if connection.vendor != "sqlite":
        return
    mode = str(ask("PRAGMA journal_mode")[0])
    if mode == "wal":
        yield passed(_("WAL"))
        return
    text = _("The journal mode is %(mode)s: readers and writers wait for each other.") % {"mode": mode}
    yield warning(text, _("Run “manage.py prepare”. If this stays, move the database to a local disk."))


@doctor_check("encoding", Group.DATABASE, needs=Needs.DATABASE)
def check_encoding() -> Iterator[CheckResult]:
    """Check PostgreSQL's encoding, and the version of the collation by which its indexes are sorted."""
    if connection.vendor != "postgresql":
        return
    encoding = str(ask(ENCODING)[0])
    if encoding != "UTF8":
        text = _("The database’s encoding is %(encoding)s: texts in other scripts can’t be stored.")
        hint = _("Create a database with ENCODING 'UTF8', and move the data there.")
        yield failure(text % {"encoding": encoding}, hint)
        return
    has_version = connection.get_database_version() >= COLLATION_SINCE
    collation, made_with, present = ask(COLLATION) if has_version else ("", None, None)
    if made_with and present and made_with != present:  # some collations have none
        text = _("The system’s collation %(name)s has changed from version %(old)s to %(new)s: indexes may be wrong.")
        hint = _("Run REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION.")
        yield warning(text % {"name": collation, "old": made_with, "new": present}, hint)
    else:
        yield passed(" ".join(filter(None, [encoding, str(collation)])))


@doctor_check("database_connections", Group.DATABASE, needs=Needs.DATABASE)
def count_connections() -> Iterator[CheckResult]:
    if connection.vendor != "postgresql":
        return
    used, most = ask(CONNECTIONS)
    words = {"used": used, "most": most, "own": own_connections()}
    hint = _("Raise max_connections, lower WEB_THREADS or WEB_WORKERS, or put PgBouncer in between.")
    if most - used < FEWEST_LEFT:
        yield failure(_("%(used)d of %(most)d connections are in use.") % words, hint)
    elif used >= BUSY_SHARE * most:
        yield warning(_("%(used)d of %(most)d connections are in use.") % words, hint)
    elif words["own"] > most:
        yield warning(_("This node may open %(own)d connections, and the server accepts %(most)d.") % words, hint)
    else:
        yield passed(_("%(used)d of %(most)d in use; this node opens at most %(own)d") % words)


def own_connections() -> int:
    """Return how many connections the processes of one node open at most."""
    web = settings.WEB_WORKERS * settings.WEB_THREADS
    return int(web + settings.QUICK_WORKERS + settings.SLOW_WORKERS + OTHER_CONNECTIONS)


@doctor_check("clock", Group.DATABASE, needs=Needs.TABLES)
def compare_clocks() -> Iterator[CheckResult]:
    """Compare this machine's clock with the database's, and with rows, which can't be from the future."""
    now = timezone.now()
    difference = measure_database_clock() - now if connection.vendor == "postgresql" else timedelta()
    hint = _("Synchronise the clocks of all machines, for example with chrony or systemd-timesyncd.")
    if abs(difference) > CLOCK_WARNING:
        text = _("This machine’s clock and the database’s differ by %(time)s.") % {"time": format_span(abs(difference))}
        yield (failure if abs(difference) > CLOCK_FAILURE else warning)(text, hint)
        return
    ahead = latest_row() - now
    if ahead > CLOCK_FAILURE:
        text = _("The clock was set back: the database has rows from %(time)s in the future.")
        yield failure(text % {"time": format_span(ahead)}, hint)
    else:
        yield passed(_("Agrees with the database"))


def measure_database_clock() -> datetime:
    found: datetime = ask("SELECT clock_timestamp()")[0]
    return found


def latest_row() -> datetime:
    latest = (Heartbeat.objects.aggregate(at=Max("at"))["at"], AuditEvent.objects.aggregate(at=Max("at"))["at"])
    return max((at for at in latest if at), default=datetime.min.replace(tzinfo=UTC))
