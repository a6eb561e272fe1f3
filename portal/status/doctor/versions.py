"""Checks of versions: Python, Django and the database, and how long each gets security fixes."""

import sys
from collections.abc import Iterator
from datetime import date, timedelta

import django
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from portal import __version__
from portal.base.words import format_date
from portal.status.doctor.registry import CheckResult, Group, Needs, doctor_check, passed, warning

Ends = dict[tuple[int, ...], date]
# The last day with security fixes, of the versions that the portal is tested with.
PYTHON: Ends = {  # https://devguide.python.org/versions/
    (3, 11): date(2027, 10, 31),
    (3, 12): date(2028, 10, 31),
    (3, 13): date(2029, 10, 31),
    (3, 14): date(2030, 10, 31),
}
DJANGO: Ends = {(5, 2): date(2028, 4, 30)}  # https://www.djangoproject.com/download/#supported-versions
POSTGRESQL: Ends = {  # https://www.postgresql.org/support/versioning/
    (14,): date(2026, 11, 12),
    (15,): date(2027, 11, 11),
    (16,): date(2028, 11, 9),
    (17,): date(2029, 11, 8),
    (18,): date(2030, 11, 14),
}
SOON = timedelta(days=180)


@doctor_check("vigie", Group.VERSIONS)
def show_portal() -> Iterator[CheckResult]:
    yield passed(f"Vigie {__version__}")


@doctor_check("python", Group.VERSIONS)
def check_python() -> Iterator[CheckResult]:
    yield examine_version("Python", tuple(sys.version_info[:3]), PYTHON, timezone.localdate())


@doctor_check("django", Group.VERSIONS)
def check_django() -> Iterator[CheckResult]:
    yield examine_version("Django", tuple(django.VERSION[:3]), DJANGO, timezone.localdate())


@doctor_check("database_version", Group.VERSIONS, needs=Needs.DATABASE)
def check_database() -> Iterator[CheckResult]:
    """Check PostgreSQL's version. Django refuses those that are too old, and SQLite has no end of support."""
    version = tuple(connection.get_database_version())
    if connection.vendor == "postgresql":
        yield examine_version("PostgreSQL", version, POSTGRESQL, timezone.localdate())
    else:
        yield passed(f"SQLite {format_version(version)}")


def examine_version(product: str, version: tuple[int, ...], ends: Ends, today: date) -> CheckResult:
    """Judge a version by the table, which has keys of one length."""
    length = len(next(iter(ends)))
    end = ends.get(version[:length])
    words = {"product": product, "version": format_version(version), "latest": format_version(max(ends))}
    hint = _("Upgrade to %(product)s %(latest)s.") % words
    if end is None:
        text = _("The portal is not tested with %(product)s %(version)s.") % words
        words["oldest"] = format_version(min(ends))
        return warning(text, _("Use %(product)s %(oldest)s to %(latest)s.") % words)
    words["day"] = format_date(end, "j F Y")
    if end < today:
        return warning(_("%(product)s %(version)s has had no security fixes since %(day)s.") % words, hint)
    if end - today < SOON:
        return warning(_("%(product)s %(version)s gets security fixes until %(day)s only.") % words, hint)
    return passed(_("%(product)s %(version)s, supported until %(day)s") % words)


def format_version(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
