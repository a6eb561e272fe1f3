"""What people, machines and applications did, as it lies in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from usage.models import FeatureUsage, UserError, UserSession


def at(text: str, day: str = "2026-03-10") -> datetime:
    """`at("14:05")`, `at("14:05:30")`, in UTC."""
    return datetime.fromisoformat(f"{day} {text}").replace(tzinfo=UTC)


def used(who: str, moment: datetime, feature: str = "document_upload", **fields: Any) -> FeatureUsage:
    known: dict[str, Any] = {"endpoint": "/api/documents", "success": True, "duration_ms": 12}
    return FeatureUsage.objects.create(user_email=who, timestamp=moment, feature_name=feature, **known | fields)


def failed(who: str, moment: datetime, kind: str = "ValidationError", code: int | None = 400) -> UserError:
    return UserError.objects.create(
        user_email=who, timestamp=moment, error_type=kind, error_code=code, endpoint="/api/documents", method="POST"
    )


def session(who: str, start: datetime, end: datetime | None = None) -> UserSession:
    return UserSession.objects.create(user_email=who, session_start=start, session_end=end)
