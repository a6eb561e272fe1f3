"""What waits to be written: one request, and what failed in it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from usage.models import FeatureUsage, UserError


class Fault(NamedTuple):
    """`message` is a stable code's sentence; `stack` names frames, innermost last, without values."""

    method: str
    kind: str
    status: int
    message: str
    stack: tuple[str, ...]


class Record(NamedTuple):
    who: str
    feature: str
    endpoint: str
    at: datetime
    duration_ms: int
    fault: Fault | None

    def as_usage(self) -> FeatureUsage:
        return FeatureUsage(
            user_email=fitting(self.who, 254),
            feature_name=fitting(self.feature, 128),
            endpoint=fitting(self.endpoint, 200),
            timestamp=self.at,
            success=self.fault is None,
            duration_ms=self.duration_ms,
        )

    def as_error(self) -> UserError | None:
        fault = self.fault
        return fault and UserError(
            user_email=fitting(self.who, 254),
            endpoint=fitting(self.endpoint, 200),
            method=fault.method,
            error_type=fitting(fault.kind, 128),
            error_code=fault.status,
            error_message=fitting(fault.message, 300),
            stack=list(fault.stack),
            timestamp=self.at,
        )


def fitting(text: str, length: int) -> str:
    """As every database takes it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:length]
