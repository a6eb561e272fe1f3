"""Checks of the sandboxes of restore drills, and of the store of off-site copies."""

from collections.abc import Iterator

from django.conf import settings
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from backups.drills.outcomes import MYSQL, POSTGRESQL, SQLITE, SandboxUnavailable
from backups.drills.postgresql.cluster import find_binaries
from backups.models import DrillSandbox
from backups.offsite import standing
from backups.reasons import format_error
from portal.base.env import split_service_url
from portal.egress.s3 import Store, StoreError
from portal.status.doctor.registry import CheckResult, Group, Needs, doctor_check, failure, passed, warning

MAY_CREATE = "SELECT rolsuper OR rolcreatedb AND rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"


@doctor_check("drill_sandboxes", Group.BACKUPS, needs=Needs.TABLES)
def list_sandboxes() -> Iterator[CheckResult]:
    """Report for each engine which sandbox it has, and whether the last drill could use it."""
    troubles = dict(DrillSandbox.objects.values_list("engine", "trouble"))
    for engine, where in describe_sandboxes().items():
        name = f"drill_sandbox_{engine}"
        if engine in troubles:
            text = _("The last drill could not use the sandbox: %(why)s") % {"why": format_error(troubles[engine])}
            yield warning(text, _("Fix the server, then click “Restore now” on a database."), name)
        else:
            yield passed(where, name)


def describe_sandboxes() -> dict[str, str]:
    binaries = find_binaries()
    own_server = _("Private server from %(path)s") % {"path": binaries} if binaries else ""
    return {
        SQLITE: _("Built in"),
        POSTGRESQL: describe_server(settings.DRILL_POSTGRES_URL) or own_server or describe_lack("DRILL_POSTGRES_URL"),
        MYSQL: describe_server(settings.DRILL_MYSQL_URL) or describe_lack("DRILL_MYSQL_URL"),
    }


def describe_server(url: str) -> str:
    return _("Server %(host)s") % {"host": split_service_url(url).get("host") or "localhost"} if url else ""


def describe_lack(setting: str) -> str:
    return _("None: dumps of this kind are not restored. Set %(setting)s to change this.") % {"setting": setting}


@doctor_check("offsite_store", Group.BACKUPS, calls_out=True)
def connect_to_store() -> Iterator[CheckResult]:
    """Ask the store of off-site copies for its bucket. Without one there is nothing to report."""
    if settings.OFFSITE_URL is None:
        return
    try:
        Store(settings.OFFSITE_URL).check()
    except StoreError as error:
        text = capfirst(f"{standing.explain_failure(error.word, error.code)}.")
        yield failure(text, _("Compare OFFSITE_URL with the store’s address, key and bucket."))
    else:
        yield passed(settings.OFFSITE_URL.place)


@doctor_check("drill_servers", Group.BACKUPS, calls_out=True)
def connect_to_servers() -> Iterator[CheckResult]:
    """Connect to the servers of the sandboxes. Without one there is nothing to report."""
    for engine, url, connect in (
        (POSTGRESQL, settings.DRILL_POSTGRES_URL, connect_to_postgresql),
        (MYSQL, settings.DRILL_MYSQL_URL, connect_to_mysql),
    ):
        name, setting = f"drill_server_{engine}", f"DRILL_{'POSTGRES' if engine == POSTGRESQL else 'MYSQL'}_URL"
        if url:
            try:
                yield connect(url, name)
            except SandboxUnavailable as error:
                hint = _("Compare %(setting)s with the server’s address, user and password.") % {"setting": setting}
                yield failure(str(error), hint, name)


def connect_to_postgresql(url: str, name: str) -> CheckResult:
    """Raises SandboxUnavailable. The driver is imported when it is needed: few portals have such a server."""
    from backups.drills.postgresql.roles import connect_as_admin  # noqa: PLC0415

    with connect_as_admin(url) as admin:
        version = admin.info.parameter_status("server_version")
        row = admin.execute(MAY_CREATE).fetchone()
    if row and row[0]:
        return passed(f"PostgreSQL {version}", name)
    text = _("The role of DRILL_POSTGRES_URL can’t create databases and roles.")
    return failure(text, _("Run ALTER ROLE … CREATEDB CREATEROLE as a superuser."), name)


def connect_to_mysql(url: str, name: str) -> CheckResult:
    """Raises SandboxUnavailable. The driver is imported when it is needed: few portals have such a server."""
    from backups.drills.mysql.sandbox import describe_administrator  # noqa: PLC0415

    return passed(describe_administrator(url), name)
