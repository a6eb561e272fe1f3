"""What makes an expected backup well defined. Each refusal is a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from backups import paths
from backups.scanner import cycles

if TYPE_CHECKING:
    from backups.models import ExpectedBackupJob

# Any moment does: a plan repeats every week.
SOME_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def validate_weekdays(text: str) -> None:
    try:
        cycles.weekdays(text)
    except ValueError:
        raise ValidationError(_("Days are written MO, TU, WE, TH, FR, SA, SU, with commas.")) from None


def validate_moment(moment: datetime) -> None:
    """What lies outside of this century cannot be shown in every zone."""
    if not 2000 <= moment.year <= 2099:
        raise ValidationError(_("A moment of this century is expected."))


def validate_template(text: str) -> None:
    """A relative folder, each part of plain characters and field names in braces."""
    try:
        list(paths.fields_in(text))
    except ValueError:
        known = ", ".join(sorted(paths.FIELDS))
        raise ValidationError(_("In braces may stand: %(names)s.") % {"names": known}) from None
    filled = paths.substituted(text, lambda name: "x")
    if any(paths.reduced(part) != part for part in filled.split("/")):
        raise ValidationError(
            _("A folder below the root is expected, of letters, digits, “.”, “_” and “-”, without “..”.")
        )


def refuse_overlapping(job: ExpectedBackupJob) -> None:
    """Early and window of one cycle must not reach into the next."""
    plan = job.plan
    moments = cycles.moments(plan, SOME_MONDAY, 1)
    first = next(moments)
    shortest = cycles.WEEK
    for _number in range(8):
        second = next(moments)
        shortest, first = min(shortest, second - first), second
    if plan.early + plan.window > shortest:
        raise ValidationError({"window_minutes": _("Window and early together must fit between two expected moments.")})


def refuse_shared_storage(job: ExpectedBackupJob) -> None:
    """Two jobs in one folder would take each other's current version for their own."""
    folder = "/".join(paths.storage_folder(job))
    others = type(job).objects.filter(storage_folder__iexact=folder).exclude(pk=job.pk)
    other = others.first()
    if other is not None:
        text = _("The backups of %(job)s are stored in the same folder, %(folder)s.")
        raise ValidationError({"final_storage_path_template": text % {"job": other, "folder": folder}})
