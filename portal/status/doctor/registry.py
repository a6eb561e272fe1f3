"""The registry of checks: apps add theirs in a module `doctor`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from portal.base.conventions import Collected

Status = Literal["ok", "warning", "failed"]


# The checks that those with Needs.DATABASE and Needs.TABLES depend on.
DATABASE, MIGRATIONS = "database", "migrations"


class Group(TextChoices):
    """Groups of checks, in the order in which they are shown."""

    SETTINGS = "settings", _("Settings")
    DATABASE = "database", _("Database")
    WORK = "work", _("Background work")
    FILES = "files", _("Files and disks")
    BACKUPS = "backups", _("Backups")
    VERSIONS = "versions", _("Versions")
    CONNECTIONS = "connections", _("Connections")


class Needs(IntEnum):
    """Requirements of checks: a connection to the database, which may fail, one that works, or all tables."""

    NOTHING = 0
    CONNECTION = 1
    DATABASE = 2
    TABLES = 3


@dataclass(frozen=True)
class CheckResult:
    """A finding of a check. `name` is set where a check reports several things; `hint` says how to fix it."""

    status: Status
    detail: str
    hint: str = ""
    name: str = ""


CheckBody = Callable[[], Iterable[CheckResult]]


@dataclass(frozen=True)
class DoctorCheck:
    """A check that yields one or more results. One that `calls_out` connects to other servers."""

    name: str
    group: Group
    body: CheckBody
    needs: Needs = Needs.NOTHING
    calls_out: bool = False


doctor_checks: Collected[DoctorCheck] = Collected("doctor")


def doctor_check(
    name: str, group: Group, *, needs: Needs = Needs.NOTHING, calls_out: bool = False
) -> Callable[[CheckBody], CheckBody]:
    """Register the function that is decorated as a check of this name."""

    def registering(body: CheckBody) -> CheckBody:
        doctor_checks.register(DoctorCheck(name, group, body, needs, calls_out))
        return body

    return registering


def passed(detail: str, name: str = "") -> CheckResult:
    return CheckResult("ok", detail, name=name)


def warning(detail: str, hint: str, name: str = "") -> CheckResult:
    return CheckResult("warning", detail, hint, name)


def failure(detail: str, hint: str, name: str = "") -> CheckResult:
    return CheckResult("failed", detail, hint, name)
