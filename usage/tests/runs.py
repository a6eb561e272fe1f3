"""Reports to send: valid ones, and the means to make them otherwise."""

from __future__ import annotations

import uuid
from typing import Any

from django.utils import timezone

from usage.models import Run


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
        "sent_at": timezone.now().isoformat(),
    } | changes


def kept(**fields: Any) -> Run:
    """A run as it lies in the database, received now and without documents unless the fields say otherwise."""
    known: dict[str, Any] = {
        "run_id": uuid.uuid4(),
        **{"machine_id": "PC-1", "license_ref": "LIC-1", "app_name": "gui", "app_version": "6"},
        **{"document_count": 1, "succeeded_count": 1, "failed_count": 0, "total_pages": 1, "documents": [{}]},
        **{"received_at": timezone.now(), "reported_by": "client:gui", "digest": ""},
    } | fields
    happened = min(known.get("started_at") or known["received_at"], known["received_at"])
    return Run.objects.create(**{"hour": happened.replace(minute=0, second=0, microsecond=0)} | known)
