"""Tracked requests and their errors, as they wait in the buffer."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from usage.models import FeatureUsage, UserError


class RequestError(NamedTuple):
    """`message` is the sentence of a stable code. `stack` names frames, innermost last, without values."""

    method: str
    kind: str
    status: int
    message: str
    stack: tuple[str, ...]


class RequestRecord(NamedTuple):
    caller: str
    feature: str
    endpoint: str
    at: datetime
    duration_ms: int
    error: RequestError | None

    def as_usage(self) -> FeatureUsage:
        return FeatureUsage(
            user_email=storable(self.caller, 254),
            feature_name=storable(self.feature, 128),
            endpoint=storable(self.endpoint, 200),
            timestamp=self.at,
            success=self.error is None,
            duration_ms=self.duration_ms,
        )

    def as_error(self) -> UserError | None:
        error = self.error
        return error and UserError(
            user_email=storable(self.caller, 254),
            endpoint=storable(self.endpoint, 200),
            method=error.method,
            error_type=storable(error.kind, 128),
            error_code=error.status,
            error_message=storable(error.message, 300),
            stack=list(error.stack),
            timestamp=self.at,
        )


def storable(text: str, length: int) -> str:
    """Cut the text, and remove what a database refuses: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:length]
