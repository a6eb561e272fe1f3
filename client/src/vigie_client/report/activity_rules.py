"""Events as the portal takes them: any other value is reduced or left out here, before it is on any disk.

The portal refuses an event for one bad value. It has the same rules, and their patterns from the same module.
"""

from __future__ import annotations

import re
from typing import Any, Optional

from vigie_client import contract
from vigie_client.contract import MAX_EMAIL, MAX_ROUTE, PARAMETER
from vigie_client.report.payload_rules import UNNAMED

NAME_RULE = "1 to 128 of A-Z a-z 0-9 . _ : + - and space are expected, without a token or the name of a file"

TOKEN = re.compile(contract.TOKEN)
_EMAIL, _NAME, _ERROR_NAME = map(re.compile, (contract.EMAIL, contract.IDENTIFIER, contract.ERROR_NAME))
_FILE_NAME, _ROUTE = re.compile(contract.FILE_NAME), re.compile(contract.ROUTE)
_ROUTE_PARAMETER, _FILLED_IN, _FILLED_IN_PATH = map(
    re.compile, (contract.ROUTE_PARAMETER, contract.FILLED_IN, contract.FILLED_IN_PATH)
)
_LONG_WORD, _PLAIN_WORD = re.compile(contract.LONG_WORD), re.compile(contract.PLAIN_WORD)


def email_address(value: Any) -> Optional[str]:
    """In lower case, as the portal keeps it; None for what is no address."""
    text = value.lower() if isinstance(value, str) and len(value) <= MAX_EMAIL else ""
    fits = len(text) <= MAX_EMAIL and _EMAIL.fullmatch(text) and not TOKEN.search(text)
    return text if fits else None


def feature_name(value: Any) -> str:
    return value.strip(" ") if _is_name(value) else UNNAMED


def error_name(error: Any) -> str:
    """Of an exception or its class, or the name itself."""
    if isinstance(error, BaseException):
        error = type(error)
    name = error.__name__ if isinstance(error, type) else error
    return name if _is_name(name) and _ERROR_NAME.fullmatch(name) else "Exception"


def route(endpoint: Any) -> Optional[str]:
    """Without query, fragment and the values of its parameters; None for what is no route, such as a file's path."""
    path = re.split(r"[?#]", endpoint, maxsplit=1)[0] if isinstance(endpoint, str) else ""
    if not path or len(path) > MAX_ROUTE or not _ROUTE.fullmatch(path) or TOKEN.search(path):
        return None
    parts = path.split("/")
    reduced = "/".join(PARAMETER if _is_filled_in(part, in_path=len(parts) > 1) else part for part in parts)
    return reduced if len(reduced) <= MAX_ROUTE else None


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or not _NAME.fullmatch(value.strip(" ")):
        return False
    return not TOKEN.search(value) and not _FILE_NAME.search(value)


def _is_filled_in(part: str, *, in_path: bool) -> bool:
    rest = _ROUTE_PARAMETER.sub("{}", part)
    odd = not all(map(_PLAIN_WORD.fullmatch, _LONG_WORD.findall(rest)))
    return bool(odd or _FILLED_IN.search(rest) or (in_path and _FILLED_IN_PATH.search(rest)))
