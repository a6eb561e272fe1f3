"""What the portal takes of an event: whatever it wouldn't is reduced or left out here, before it is on any disk.

The same rules as the portal's own, which would refuse an event for one bad value.
"""

from __future__ import annotations

import re
from typing import Any, Optional

LONGEST_EMAIL, LONGEST_ROUTE = 254, 200
_EMAIL = re.compile(
    r"(?=[^@]{1,64}@)[\w%+'&-]+(?:\.[\w%+'&-]+)*"
    r"@\w(?:[\w-]{0,61}\w)?(?:\.\w(?:[\w-]{0,61}\w)?)*"
)
TOKEN = re.compile(r"vigie_(?:enroll|agent|client|staff)_[0-9A-Za-z]{12}_[0-9A-Za-z_]+")
_NAME = re.compile(r"[A-Za-z0-9._:+ -]{1,128}")
# No spaces: the text of an exception is not to pass for the name of one.
_ERROR = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]\.[A-Za-z][A-Za-z0-9]{1,4}(?!\.?\w)")
_ROUTE = re.compile(r"(?!.*:/)[A-Za-z0-9._~{}<>:/-]+")
# A parameter's name, in the ways of writing one.
_DECLARED = re.compile(r"\{[A-Za-z_:]+[0-9]?\}|<[A-Za-z_:]+[0-9]?>|^:[A-Za-z_]+[0-9]?(?=\.|$)")
# A segment that somebody filled in: digits, a UUID, digits among letters, a long random word, the name of a file.
_FILLED_IN = re.compile(
    r"^[0-9][0-9._:~-]*$|[0-9]{4}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16}"
    r"|^(?=.*[0-9])(?=.*[A-Za-z]).{8}|[a-z]{21}|[A-Z]{21}|^[^{}<>]+\.[A-Za-z][A-Za-z0-9]{1,4}$"
)
# In a path also a person or a password. A name without a slash, such as `documents.upload`, is a view's.
_FILLED_IN_PATH = re.compile(r"[A-Za-z0-9]\.[A-Za-z]|:")
_LONG_WORD = re.compile(r"[A-Za-z]{8,}")
_PLAIN_WORD = re.compile(r"[A-Z]+|[A-Z]?[a-z]+(?:[A-Z][a-z]+)*[A-Z]{0,5}")
_PARAMETER = "{id}"


def email_address(value: Any) -> Optional[str]:
    """In lower case, as the portal keeps it; None for what is no address."""
    text = value.lower() if isinstance(value, str) and len(value) <= LONGEST_EMAIL else ""
    fits = len(text) <= LONGEST_EMAIL and _EMAIL.fullmatch(text) and not TOKEN.search(text)
    return text if fits else None


def feature_name(value: Any) -> str:
    return value.strip(" ") if _is_name(value) else "unnamed"


def error_name(error: Any) -> str:
    """Of an exception or its class, or the name itself."""
    if isinstance(error, BaseException):
        error = type(error)
    name = error.__name__ if isinstance(error, type) else error
    return name if _is_name(name) and _ERROR.fullmatch(name) else "Exception"


def route(endpoint: Any) -> Optional[str]:
    """Without query, fragment and the values of its parameters; None for what is no route, such as a file's path."""
    path = re.split(r"[?#]", endpoint, maxsplit=1)[0] if isinstance(endpoint, str) else ""
    if len(path) > LONGEST_ROUTE or not _ROUTE.fullmatch(path) or TOKEN.search(path):
        return None
    parts = path.split("/")
    reduced = "/".join(_PARAMETER if _is_filled_in(part, in_path=len(parts) > 1) else part for part in parts)
    return reduced if len(reduced) <= LONGEST_ROUTE else None


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or not _NAME.fullmatch(value.strip(" ")):
        return False
    return not TOKEN.search(value) and not _FILE_NAME.search(value)


def _is_filled_in(part: str, *, in_path: bool) -> bool:
    rest = _DECLARED.sub("{}", part)
    odd = not all(map(_PLAIN_WORD.fullmatch, _LONG_WORD.findall(rest)))
    return bool(odd or _FILLED_IN.search(rest) or (in_path and _FILLED_IN_PATH.search(rest)))
