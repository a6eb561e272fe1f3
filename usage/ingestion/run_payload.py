"""Read the report of one run: a whitelist at every level, every value checked by hand.

By hand, since this is the hot path, and so that nothing undocumented survives: a file name under any key is dropped and
counted, never stored, logged or echoed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from vigie_client.contract import (
    COUNTERS,
    DOCUMENT_KEYS,
    MAX_DOCUMENTS,
    OTHER,
    RUN_KEYS,
    STATUSES,
    normalize_extension,
)

from portal.api.payloads import Payload, PayloadReader
from portal.base.problems import Problem, invalid_field

OPTIONAL_IDENTIFIERS = ("license_ref", "machine_id")
REQUIRED_IDENTIFIERS = ("app_name", "app_version")


@dataclass(frozen=True)
class RunPayload:
    """A valid report of a run.

    `documents_omitted` counts the documents that are not listed. `digest` covers all fields but `sent_at` and
    `dropped_keys`. Both times are as stated, by the sender's clock.
    """

    run_id: UUID
    license_ref: str
    machine_id: str
    app_name: str
    app_version: str
    document_count: int
    succeeded_count: int
    failed_count: int
    total_pages: int
    documents: list[dict[str, Any]]
    documents_omitted: int
    started_at: datetime | None
    sent_at: datetime | None
    dropped_keys: int
    digest: str


def read_run(body: Any) -> RunPayload:
    """Read and check a report.

    Raises Problem: validation_failed with the errors of all fields, or counters_mismatch.
    """
    if not isinstance(body, dict):
        raise invalid_field("body", "not_an_object", "A run is an object.")
    reader = PayloadReader()
    reader.drop_unknown(body, RUN_KEYS)
    fields: dict[str, Any] = {"run_id": reader.uuid(body, "run_id")}
    fields |= {name: reader.identifier(body, name, required=False) for name in OPTIONAL_IDENTIFIERS}
    fields |= {name: reader.identifier(body, name, required=True) for name in REQUIRED_IDENTIFIERS}
    fields |= {name: reader.integer(body, name, required=True) for name in COUNTERS}
    fields |= {"started_at": reader.timestamp(body, "started_at"), "documents": read_documents(reader, body)}
    fields["documents_omitted"] = reader.integer(body, "documents_omitted") or 0
    sent_at = reader.timestamp(body, "sent_at")
    reader.raise_errors()
    refuse_mismatch(fields)
    return RunPayload(**fields, sent_at=sent_at, dropped_keys=reader.dropped_keys, digest=hash_content(fields))


def read_documents(reader: PayloadReader, payload: Payload) -> list[dict[str, Any]]:
    value = payload.get("documents")
    if value is None:
        reader.require("documents")
    elif not isinstance(value, list):
        reader.refuse("documents", "not_a_list", "A list of documents is expected.")
    elif len(value) > MAX_DOCUMENTS:
        reader.refuse("documents", "too_many", f"At most {MAX_DOCUMENTS} documents are expected.")
    else:
        return [read_document(reader, item, f"documents[{index}]") for index, item in enumerate(value)]
    return []


def read_document(reader: PayloadReader, item: Any, path: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        reader.refuse(path, "not_an_object", "A document is an object.")
        return {}
    reader.drop_unknown(item, DOCUMENT_KEYS)
    prefix = f"{path}."
    status = item.get("status")
    return {
        "ordinal": reader.integer(item, "ordinal", prefix),
        "page_count": reader.integer(item, "page_count", prefix),
        "status": status if status is None or status in STATUSES else OTHER,
        "duration_ms": reader.integer(item, "duration_ms", prefix),
        "extension": normalize_extension(item.get("extension")),
    }


def refuse_mismatch(fields: Mapping[str, Any]) -> None:
    """Raise Problem("counters_mismatch") if the counters contradict the documents.

    Omitted documents can only add to the counters, and at most one success or failure each.
    """
    listed, omitted = count_documents(fields["documents"]), fields["documents_omitted"]
    unlisted = {name: fields[name] - listed[name] for name in COUNTERS}
    finished = unlisted["succeeded_count"] + unlisted["failed_count"]
    fits = unlisted["document_count"] == omitted and min(unlisted.values()) >= 0 and finished <= omitted
    if not fits or (unlisted["total_pages"] and not omitted):
        raise Problem("counters_mismatch")


def count_documents(documents: list[dict[str, Any]]) -> dict[str, int]:
    """Return the counters of these documents. A status other than success and failed counts as neither."""
    statuses = [document["status"] for document in documents]
    return {
        "document_count": len(documents),
        "succeeded_count": statuses.count("success"),
        "failed_count": statuses.count("failed"),
        "total_pages": sum(document["page_count"] or 0 for document in documents),
    }


def hash_content(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical form, so that a retry with another spelling is recognized as the same run.

    `documents_omitted` is left out if it is 0: runs recorded before the field existed keep their digest.
    """
    stated = {name: value for name, value in fields.items() if value or name != "documents_omitted"}
    stated["run_id"] = fields["run_id"].hex
    canonical = json.dumps(stated, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
