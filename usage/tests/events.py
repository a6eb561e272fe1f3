"""Events to send: valid ones, and the means to make them otherwise."""

from __future__ import annotations

import uuid
from typing import Any


def session(**changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "user_email": "bob@example.org",
        "session_start": "2026-03-10T08:00:00Z",
        "session_end": None,
        "user_agent": "vigie-client/1.2",
    } | changes


def feature(**changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "user_email": "bob@example.org",
        "feature_name": "document_upload",
        "endpoint": "/api/documents/upload",
        "timestamp": "2026-03-10T08:01:00Z",
        "success": True,
        "duration_ms": 120,
    } | changes


def error(**changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "user_email": "bob@example.org",
        "endpoint": "/api/documents/upload",
        "method": "POST",
        "error_type": "ValidationError",
        "error_code": 400,
        "timestamp": "2026-03-10T08:02:00Z",
    } | changes


MAKERS = {"sessions": session, "features": feature, "errors": error}
