"""Valid payloads of runs and events; keyword arguments override their fields."""

from __future__ import annotations

import uuid
from typing import Any

from django.utils import timezone


def document_payload(**changes: Any) -> dict[str, Any]:
    return {"ordinal": 0, "page_count": 12, "status": "success", "duration_ms": 840, "extension": ".pdf"} | changes


def run_payload(documents: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a report with two documents, or with those given."""
    if documents is None:
        failed = document_payload(ordinal=1, page_count=None, status="failed", duration_ms=35, extension=".docx")
        documents = [document_payload(), failed]
    statuses = [item.get("status") for item in documents]
    return {
        "run_id": uuid.uuid4().hex,
        "license_ref": "LIC-2041",
        "machine_id": "PC-1",
        "app_name": "gui_v6",
        "app_version": "6.0.3",
        "document_count": len(documents),
        "succeeded_count": statuses.count("success"),
        "failed_count": statuses.count("failed"),
        "total_pages": sum(item.get("page_count") or 0 for item in documents),
        "documents": documents,
        "started_at": "2026-03-10T09:20:00Z",
        "sent_at": timezone.now().isoformat(),
    } | changes


def session_event(**changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "user_email": "bob@example.org",
        "session_start": "2026-03-10T08:00:00Z",
        "session_end": None,
        "user_agent": "vigie-client/1.2",
    } | changes


def feature_event(**changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "user_email": "bob@example.org",
        "feature_name": "document_upload",
        "endpoint": "/api/documents/upload",
        "timestamp": "2026-03-10T08:01:00Z",
        "success": True,
        "duration_ms": 120,
    } | changes


def error_event(**changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "user_email": "bob@example.org",
        "endpoint": "/api/documents/upload",
        "method": "POST",
        "error_type": "ValidationError",
        "error_code": 400,
        "timestamp": "2026-03-10T08:02:00Z",
    } | changes


EVENT_PAYLOADS = {"sessions": session_event, "features": feature_event, "errors": error_event}
