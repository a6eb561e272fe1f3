"""Create rows of usage: runs, rollups, licences and activity."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from usage.models import FeatureUsage, Licence, Run, RunRollup, UserError, UserSession


def at(text: str, day: str = "2026-03-10") -> datetime:
    """Return a time in UTC: `at("14:05")`, `at("14:05:30")`."""
    return datetime.fromisoformat(f"{day} {text}").replace(tzinfo=UTC)


def create_feature_usage(who: str, moment: datetime, feature: str = "document_upload", **fields: Any) -> FeatureUsage:
    defaults: dict[str, Any] = {"endpoint": "/api/documents", "success": True, "duration_ms": 12}
    return FeatureUsage.objects.create(user_email=who, timestamp=moment, feature_name=feature, **defaults | fields)


def create_error(who: str, moment: datetime, kind: str = "ValidationError", code: int | None = 400) -> UserError:
    return UserError.objects.create(
        user_email=who, timestamp=moment, error_type=kind, error_code=code, endpoint="/api/documents", method="POST"
    )


def create_session(who: str, start: datetime, end: datetime | None = None) -> UserSession:
    return UserSession.objects.create(user_email=who, session_start=start, session_end=end)


def create_run(**fields: Any) -> Run:
    """Create a run received now, without documents; `fields` overrides the defaults."""
    defaults: dict[str, Any] = {
        "run_id": uuid.uuid4(),
        **{"machine_id": "PC-1", "license_ref": "LIC-1", "app_name": "gui", "app_version": "6"},
        **{"document_count": 1, "succeeded_count": 1, "failed_count": 0, "total_pages": 1, "documents": [{}]},
        **{"received_at": timezone.now(), "reported_by": "client:gui", "digest": ""},
    } | fields
    happened = min(defaults.get("started_at") or defaults["received_at"], defaults["received_at"])
    return Run.objects.create(**{"hour": happened.replace(minute=0, second=0, microsecond=0)} | defaults)


def create_rollup(at: datetime | None = None, pages: int = 1, **fields: Any) -> RunRollup:
    """Create the rollup of the hour around `at` (default: now), of a run with one document; `fields` overrides."""
    defaults: dict[str, Any] = {
        **{"license_ref": "LIC-1", "app_name": "gui", "app_version": "6"},
        **{"runs": 1, "documents": 1, "succeeded": 1, "failed": 0},
    } | fields
    hour = (at or timezone.now()).replace(minute=0, second=0, microsecond=0)
    return RunRollup.objects.create(hour=hour, pages=pages, **defaults)


def create_licence(ref: str = "LIC-1", quota: int | None = 100, **fields: Any) -> Licence:
    return Licence.objects.create(ref=ref, monthly_page_quota=quota, **{"customer": "Acme"} | fields)
