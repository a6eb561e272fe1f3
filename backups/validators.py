"""Validate expected backups. Each ValidationError is a sentence for the interface."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from vigie_client.contract import path_name

from backups import cycles
from backups.scanner.disk import paths
from portal.base import cron

if TYPE_CHECKING:
    from backups.models import ExpectedBackupJob

# Format and control characters, and separators of lines.
INVISIBLE = frozenset({"Cf", "Cc", "Zl", "Zp"})


def validate_weekdays(text: str) -> None:
    try:
        cycles.parse_weekdays(text)
    except ValueError:
        raise ValidationError(_("Enter days as MO, TU, WE, TH, FR, SA, SU, separated by commas.")) from None


def validate_name(text: str) -> None:
    """Reject invisible characters, which would keep the name from ever matching."""
    if any(unicodedata.category(char) in INVISIBLE for char in text):
        raise ValidationError(_("The name contains invisible characters. Type it instead of pasting it."))


def validate_schedule(text: str) -> None:
    try:
        cycles.measure_gaps(text, "UTC")
    except ValueError:
        raise ValidationError(
            _(
                "Enter a cron expression of five fields (minute, hour, day, month, day of the week) that occurs at"
                " least once a year, such as 30 2 * * *."
            )
        ) from None


def validate_zone(name: str) -> None:
    try:
        cron.parse_zone(name)
    except ValueError:
        raise ValidationError(_("Enter a time zone such as Europe/Paris.")) from None


def validate_moment(moment: datetime) -> None:
    """Reject dates outside of this century, which not every time zone can show."""
    if not 2000 <= moment.year <= 2099:
        raise ValidationError(_("Enter a date between 2000 and 2099."))


def validate_template(text: str) -> None:
    """Accept a relative folder of plain characters and field names in braces."""
    try:
        paths.check_fields(text)
    except ValueError:
        known = ", ".join(sorted(paths.FIELDS))
        raise ValidationError(_("Allowed placeholders: %(names)s.") % {"names": known}) from None
    filled = paths.fill_in_fields(text, lambda name: "x")
    if any(path_name(part) != part for part in filled.split("/")):
        raise ValidationError(_("Enter a relative folder made of letters, digits, “.”, “_” and “-”, without “..”."))


def refuse_overlapping(job: ExpectedBackupJob) -> None:
    """Reject an early time and a window that together reach into the next cycle."""
    timetable = job.timetable
    if timetable.schedule:
        shortest, _longest = cycles.measure_gaps(timetable.schedule, "UTC")  # DST changes are ignored
    else:
        first = list(islice(cycles.expected_times(timetable, cycles.SOME_MONDAY, 1), 9))
        shortest = min(after - before for before, after in pairwise(first))
    if timetable.early + timetable.window > shortest:
        raise ValidationError(
            {"window_minutes": _("Grace period and early tolerance together must fit between two scheduled times.")}
        )


def refuse_shared_storage(job: ExpectedBackupJob) -> None:
    """Reject a folder of another job: each would take the other's current version for its own."""
    folder = "/".join(paths.storage_folder(job))
    others = type(job).objects.filter(storage_folder__iexact=folder).exclude(pk=job.pk)
    other = others.first()
    if other is not None:
        text = _(
            "The backups of %(job)s are stored in the same folder, %(folder)s. Enter another storage folder, such as"
            " {agent_id}/{database_name}."
        )
        raise ValidationError({"final_storage_path_template": text % {"job": other, "folder": folder}})
