"""Check the fields of a JSON object by hand, where a serializer would be too slow or would echo what was sent.

No error holds a submitted value.
"""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from vigie_client import contract
from vigie_client.contract import MAX_INTEGER

from portal.base.problems import FieldError, Problem

MAX_ERRORS = 20
LONGEST_TIMESTAMP = 40
UUID_TEXT = re.compile(contract.UUID)

Payload = Mapping[str, Any]


class PayloadReader:
    """Read fields one by one and collect the errors, 20 at most. A refused value becomes None, empty or the default.

    `dropped_keys` counts the keys that were sent and are not documented.
    """

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.dropped_keys = 0

    def refuse(self, field: str, code: str, message: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(FieldError(field, code, message))

    def require(self, field: str) -> None:
        self.refuse(field, "required", "This field is required.")

    def raise_errors(self) -> None:
        """Raise Problem("validation_failed") if any field was refused."""
        if self.errors:
            raise Problem("validation_failed", errors=self.errors)

    def drop_unknown(self, payload: Payload, known: Collection[str]) -> None:
        self.dropped_keys += len(payload.keys() - known)

    def integer(self, payload: Payload, name: str, path: str = "", *, required: bool = False) -> int | None:
        value = payload.get(name)
        number = contract.wire_integer(value)
        if value is None and required:
            self.require(path + name)
        elif value is not None and number is None:
            self.refuse(path + name, "not_an_integer", f"An integer from 0 to {MAX_INTEGER} is expected.")
        return number

    def identifier(self, payload: Payload, name: str, *, required: bool) -> str:
        value = payload.get(name)
        if value is None:
            if required:
                self.require(name)
            return ""
        if not isinstance(value, str) or not contract.is_identifier(value.strip(" ")):
            self.refuse(name, "not_an_identifier", "1 to 128 of A-Z a-z 0-9 . _ : + - and space are expected.")
            return ""
        return value.strip(" ")

    def uuid(self, payload: Payload, name: str) -> UUID | None:
        value = payload.get(name)
        if isinstance(value, str) and UUID_TEXT.fullmatch(value):
            return UUID(value)
        if value is None:
            self.require(name)
        else:
            self.refuse(name, "not_a_uuid", "A UUID in 32 hexadecimal digits is expected, with its dashes or without.")
        return None

    def timestamp(self, payload: Payload, name: str, *, required: bool = False) -> datetime | None:
        """Return the time as stated, in UTC, of any year: `usage.clocks` decides which years are plausible."""
        value = payload.get(name)
        if value is None:
            if required:
                self.require(name)
            return None
        try:
            if not isinstance(value, str) or not value.isascii() or len(value) > LONGEST_TIMESTAMP:
                raise ValueError
            time = datetime.fromisoformat(value)
            if time.tzinfo is None:
                raise ValueError
        except ValueError:
            self.refuse(name, "not_a_moment", "A time such as 2026-03-10T09:20:00Z, with its offset, is expected.")
            return None
        try:
            return time.astimezone(UTC)
        except OverflowError:  # at either end of the calendar, where the offset no longer matters
            return time.replace(tzinfo=UTC)

    def boolean(self, payload: Payload, name: str) -> bool:
        value = payload.get(name)
        if not isinstance(value, bool):
            self.refuse(name, "not_a_boolean", "true or false is expected.")
        return value is True

    def text(self, payload: Payload, name: str, max_length: int | None = None) -> str:
        """Return the text as it was sent, empty if it is absent."""
        value = payload.get(name)
        if value is not None and not isinstance(value, str):
            self.refuse(name, "not_a_text", "A text is expected.")
            return ""
        if value and max_length is not None and len(value) > max_length:
            self.refuse(name, "too_long", f"At most {max_length} characters are expected.")
            return ""
        return value or ""

    def choice(self, payload: Payload, name: str, choices: Collection[str], default: str) -> str:
        value = payload.get(name)
        if value is None or value == "":
            return default
        if not isinstance(value, str) or value not in choices:
            self.refuse(name, "invalid_choice", f"One of {', '.join(choices)} is expected.")
            return default
        return value
