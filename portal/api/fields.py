"""Fields whose refusals hold none of what was submitted, and which let no control character through."""

import re
from typing import Any, ClassVar

from rest_framework import serializers

from portal.access.tokens.credential import TOKEN_IN_TEXT

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineField(serializers.CharField):
    """One line of text, trimmed. A token pasted into the wrong field is refused: it would be kept and shown."""

    default_error_messages = {
        "control": "Control characters are not allowed.",
        "pattern": "The text is not as documented.",
        "token": "A token does not belong here.",
    }

    # Whether what is too long is cut instead of refused.
    is_reduced: ClassVar[bool] = False

    def __init__(self, *, pattern: str | None = None, **kwargs: Any) -> None:
        self.pattern = re.compile(pattern) if pattern else None
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = super().to_internal_value(data)
        if CONTROL.search(data):
            self.fail("control")
        if TOKEN_IN_TEXT.search(text):
            self.fail("token")
        if self.pattern and text and not self.pattern.fullmatch(text):
            self.fail("pattern")
        return text


class StrictBooleanField(serializers.BooleanField):
    """true or false, not their many spellings."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class ItemsField(serializers.Field[Any, Any, Any, Any]):
    """Documents a list of which each item is judged by itself."""

    def __init__(self, serializer: type[serializers.BaseSerializer[Any]], most: int, **kwargs: Any) -> None:
        self.serializer, self.most = serializer, most
        super().__init__(**kwargs)
