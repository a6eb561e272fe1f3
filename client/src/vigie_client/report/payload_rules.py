"""Convert the values of runs and events to what the portal accepts, before they are written to any disk.

`Mistakes` collects the invalid fields of a run with their rules, but no values, which may be private.
"""

from __future__ import annotations

import logging
import math
import operator
import re
import unicodedata
import uuid
from typing import Any, Optional, SupportsFloat, SupportsIndex

from vigie_client.contract import (
    MAX_INTEGER,
    OTHER,
    STATUSES,
    UUID,
    has_file_name,
    has_token,
    is_error_name,
    is_identifier,
    machine_name,
    normal_form,
    normalize_extension,
    reduce_route,
)
from vigie_client.disk.logs import log

UNNAMED = "unnamed"
_DIGITS = re.compile(r"[0-9]{1,10}")
_STATUS_SYNONYMS = {
    "ok": "success",
    "succeeded": "success",
    "successful": "success",
    "failure": "failed",
    "fail": "failed",
    "error": "failed",
}
_MAX_SENTENCES = 3
FEATURE_NAME_RULE = "1 to 128 of A-Z a-z 0-9 . _ : + - and space are expected, without a token or the name of a file"
_IDENTIFIER_RULE = "1 to 128 of A-Z a-z 0-9 . _ : + - and space, and no token, are expected"
_RUN_ID_NAMESPACE = uuid.UUID("5b0f3c1e-6a54-4d0c-9a4f-7c9d2c7f6c11")


class Mistakes:
    def __init__(self) -> None:
        self._sentences: list[str] = []
        self._count = 0

    def add(self, field: str, rule: str) -> None:
        self._count += 1
        if len(self._sentences) < _MAX_SENTENCES:
            self._sentences.append(f"{field}: {rule}")

    def raise_or_log(self, *, strict: bool) -> None:
        """Raise ValueError if `strict`, else log one line. Do nothing without a mistake."""
        if not self._count:
            return
        more = self._count - len(self._sentences)
        text = "; ".join(self._sentences) + (f"; and {more} more" if more else "")
        if strict:
            raise ValueError(text)
        log(logging.WARNING, "usage payload reduced to what the portal takes: %s", text)


def normalize_run_id(value: Any, mistakes: Mistakes) -> str:
    """Return a UUID as given, or in hex. An invalid text always gives the same UUID, so that its run counts once."""
    if isinstance(value, uuid.UUID):
        return value.hex
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(UUID, text):
        return text
    try:
        return uuid.UUID(text).hex  # in braces, as .NET and the registry write it
    except ValueError:
        mistakes.add("run_id", "a UUID in 32 hexadecimal digits, with its dashes or without, is expected")
    return uuid.uuid5(_RUN_ID_NAMESPACE, text.encode("utf-8", "replace").decode()).hex if text else uuid.uuid4().hex


def normalize_name(field: str, value: Any, mistakes: Mistakes) -> str:
    text = convert_text(value)
    if is_identifier(text):
        return text
    mistakes.add(field, _IDENTIFIER_RULE)
    return _reduce_name(text) or UNNAMED


def normalize_machine_id(value: Any, mistakes: Mistakes) -> Optional[str]:
    """Return the machine_id, reduced by the rule for machine names, or None if nothing is left."""
    known = optional_name("machine_id", value, mistakes)
    text = convert_text(value)
    return known or (None if has_token(text) else machine_name(text) or None)


def optional_name(field: str, value: Any, mistakes: Mistakes) -> Optional[str]:
    """Return the name, or None if it is missing or invalid."""
    text = convert_text(value)
    if is_identifier(text):
        return text
    if text or not (value is None or isinstance(value, str)):
        mistakes.add(field, _IDENTIFIER_RULE)
    return None


def convert_integer(field: str, value: Any, mistakes: Mistakes, *, rounded: bool = False) -> Optional[int]:
    """Return the value as an int from 0 to 2^31-1, or None. A fraction is only accepted if `rounded`."""
    if value is None:
        return None
    number = to_whole_number(value, rounded=rounded)
    if number is not None and 0 <= number <= MAX_INTEGER:
        return number
    mistakes.add(field, f"an integer from 0 to {MAX_INTEGER} is expected")
    return None


def convert_status(field: str, value: Any, mistakes: Mistakes) -> Optional[str]:
    """Return `success`, `failed` or `other`. An unknown text is not sent, since it may name a file."""
    if value is None:
        return None
    if isinstance(value, bool):
        return STATUSES[0] if value else STATUSES[1]
    text = value.strip().lower() if isinstance(value, str) else ""
    known = _STATUS_SYNONYMS.get(text, text)
    if known in (*STATUSES, OTHER):
        return known
    mistakes.add(field, "success, failed or other is expected")
    return OTHER


def convert_extension(field: str, value: Any, mistakes: Mistakes) -> Optional[str]:
    """Return the extension in lower case, with its dot if any; `other` for an invalid one: it may be a file name's."""
    if value is None:
        return None
    if not isinstance(value, str):
        mistakes.add(field, "a text is expected")
        return OTHER
    return OTHER if normalize_extension(value) == OTHER else value.lower()


def convert_text(value: Any) -> str:
    """Return a text without surrounding spaces, or a number as text. Anything else gives an empty text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value) if abs(value) < 1e15 else ""
    return value.strip() if isinstance(value, str) else ""


def _reduce_name(text: str) -> str:
    """Drop accents and replace each run of other characters by a space: `Éditeur (Pro)` becomes `Editeur Pro`."""
    if has_token(text):
        return ""
    without_accents = "".join(c for c in normal_form(text, "NFKD") if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^A-Za-z0-9._:+-]+", " ", without_accents).split())[:128].strip()


def to_whole_number(value: Any, *, rounded: bool = False) -> Optional[int]:
    """Convert a value whose meaning is certain to an int, or return None. Fractions are only accepted if `rounded`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value.strip()) else None
    try:
        if isinstance(value, SupportsIndex):
            return operator.index(value)
        number = float(value) if isinstance(value, SupportsFloat) else math.nan
    except Exception:
        return None
    return round(number) if math.isfinite(number) and (rounded or number.is_integer()) else None


# --- Events ----------------------------------------------------------------------------------------------------------


def reduce_feature_name(value: Any) -> str:
    """Return a valid name without surrounding spaces, `unnamed` otherwise."""
    return value.strip(" ") if _is_valid_name(value) else UNNAMED


def name_error(error: Any) -> str:
    """Return the class name of an exception or class, or the name passed; `Exception` for an invalid one."""
    if isinstance(error, BaseException):
        error = type(error)
    name = error.__name__ if isinstance(error, type) else error
    return name if _is_valid_name(name) and is_error_name(name) else "Exception"


def reduce_endpoint(endpoint: Any) -> Optional[str]:
    """Return the route without query and parameter values; None if it is too long or no route, such as a path."""
    return (reduce_route(endpoint) if isinstance(endpoint, str) else None) or None


def _is_valid_name(value: Any) -> bool:
    return isinstance(value, str) and is_identifier(value.strip(" ")) and not has_file_name(value)
