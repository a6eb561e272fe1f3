"""Parse the cells of an imported table for the fields of an expected backup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from backups import validators
from portal.access.tokens.credential import TOKEN_IN_TEXT
from portal.api.fields import CONTROL

WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# Some spreadsheets translate booleans.
BOOLEANS = dict.fromkeys(["true", "1", "yes", "vrai", "oui"], True) | dict.fromkeys(
    ["false", "0", "no", "faux", "non"], False
)


def parse_cell(column: models.Field[Any, Any], text: str) -> Any:
    """Parse a cell for its field. Raises ValueError with a sentence that does not quote the cell."""
    if not text:
        return None if column.null else column.get_default()
    if isinstance(column, models.BooleanField):
        return parse_boolean(text)
    if isinstance(column, models.DateTimeField):
        return parse_datetime(text)
    if isinstance(column, models.IntegerField):
        return parse_integer(text)
    if column.choices:
        return parse_choice(text, [str(value) for value, _label in column.flatchoices])
    if column.name == "previous_successful_hash":
        return parse_sha256(text)
    return parse_line(text)


def parse_boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise ValueError(_("Enter true or false."))
    return BOOLEANS[text.lower()]


def parse_datetime(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        validators.validate_moment(found)
    except (ValueError, OverflowError, ValidationError):
        raise ValueError(_("Enter a date and time such as 2026-03-10T09:12:44Z.")) from None
    return found


def parse_integer(text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise ValueError(_("Enter a whole number."))
    return int(text)


def parse_choice(text: str, choices: list[str]) -> str:
    for known in choices:
        if known.lower() == text.lower():
            return known
    raise ValueError(_("Enter one of: %(choices)s.") % {"choices": ", ".join(choices)})


def parse_sha256(text: str) -> str:
    if not SHA256.fullmatch(text.lower()):
        raise ValueError(_("Enter 64 hexadecimal digits."))
    return text.lower()


def parse_line(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError(_("Control characters aren’t allowed."))
    if TOKEN_IN_TEXT.search(text):
        raise ValueError(_("Don’t put a token here."))
    return text
