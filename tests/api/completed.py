"""Rules that a schema cannot express: fields that depend on each other, or on the caller."""

from __future__ import annotations

import hashlib
from typing import Any

from usage.ingestion.run_payload import count_documents


def complete(case: Any) -> None:
    """Change a generated call that fits the schema into one that the portal accepts."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        case.query.pop("cursor", None)  # one is taken from an answer
        COMPLETIONS.get(case.operation.path, lambda case: None)(case)


def machine(case: Any) -> None:
    body = case.body if isinstance(case.body, dict) else {}
    case.body = body | {"machine_id": body.get("machine_id") or "PC-1"}
    case.media_type = "application/json"  # or a body that was left out would not be sent


def counters(case: Any) -> None:
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("documents"), list):
        omitted = body.get("documents_omitted") or 0
        listed = count_documents([{"status": None, "page_count": None} | each for each in body["documents"]])
        body |= listed | {"document_count": min(listed["document_count"] + omitted, 2**31 - 1)}


def something_said(case: Any) -> None:
    body = case.body
    if isinstance(body, dict):
        body["participant"] = "carol"
        if body.get("nps_score") is None:
            body["comment"] = "It stops."


def announced(case: Any) -> None:
    is_report = case.path_parameters["area"] == "log"
    case.path_parameters["name"] = "20260310_120000_PC-1.json" if is_report else "stock.sql.gz"
    sent = case.body if isinstance(case.body, bytes) else b""
    case.body = sent
    case.headers["X-Content-SHA256"] = hashlib.sha256(sent).hexdigest()


def in_order(case: Any) -> None:
    case.query = {name: value for name, value in case.query.items() if name not in ("from", "to")}


COMPLETIONS = {
    "/api/v1/agents/enroll": machine,
    "/api/v1/agents/uninstall": machine,
    "/api/v1/usage/report": counters,
    "/api/v1/beta/feedback": something_said,
    "/api/v1/backups/deposits/{area}/{name}": announced,
    "/api/v1/usage/export": in_order,
}
