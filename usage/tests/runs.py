"""Reports to send: valid ones, and the means to make them otherwise."""

from __future__ import annotations

import uuid
from typing import Any


def document(**changes: Any) -> dict[str, Any]:
    return {"ordinal": 0, "page_count": 12, "status": "success", "duration_ms": 840, "extension": ".pdf"} | changes


def run(documents: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A valid report with two documents, or with those given; the changes may make it otherwise."""
    if documents is None:
        failed = document(ordinal=1, page_count=None, status="failed", duration_ms=35, extension=".docx")
        documents = [document(), failed]
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
        "sent_at": "2026-03-10T09:21:03Z",
    } | changes
