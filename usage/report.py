"""A report of one run, from what was sent to what is kept: a whitelist at every level, every value checked by hand.

Checked by hand because it is the hot path, and because refusals and surviving values must hold nothing that was not
asked for: a file name under any key is dropped and counted, never stored, logged or echoed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from vigie_client import contract
from vigie_client.contract import MAX_DOCUMENTS, MAX_INTEGER, STATUSES

from portal.api.errors import FieldError, Problem
from portal.tokens import TOKEN_IN_TEXT

MAX_ERRORS = 20
UUID_TEXT, IDENTIFIER, EXTENSION = map(re.compile, (contract.UUID, contract.IDENTIFIER, contract.EXTENSION))
COUNTERS = ("document_count", "succeeded_count", "failed_count", "total_pages")
OPTIONAL_IDENTIFIERS = ("license_ref", "machine_id")
REQUIRED_IDENTIFIERS = ("app_name", "app_version")
RUN_KEYS = frozenset({"run_id", "documents", "documents_omitted", "started_at", "sent_at"}).union(
    OPTIONAL_IDENTIFIERS, REQUIRED_IDENTIFIERS, COUNTERS
)
DOCUMENT_KEYS = frozenset({"ordinal", "page_count", "status", "duration_ms", "extension"})


@dataclass(frozen=True)
class Report:
    """A valid report. `documents` are whitelisted; `digest` covers all but `sent_at` and what was dropped.

    `documents_omitted` counts the documents that are not listed. Both times are as stated, by the sender's clock.
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


class Reader:
    """Collects what is wrong while it reads; a value it refuses becomes None."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.dropped = 0

    def refuse(self, field: str, code: str, message: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(FieldError(field, code, message))

    def integer(self, source: Mapping[str, Any], name: str, path: str = "", *, required: bool = False) -> int | None:
        value = source.get(name)
        # `type is int` and not isinstance: True is an int to Python.
        if (type(value) is int and 0 <= value <= MAX_INTEGER) or (value is None and not required):
            return value
        if value is None:
            self.refuse(path + name, "required", "This field is required.")
        else:
            self.refuse(path + name, "not_an_integer", f"An integer from 0 to {MAX_INTEGER} is expected.")
        return None

    def identifier(self, source: Mapping[str, Any], name: str, *, required: bool) -> str:
        value = source.get(name)
        if value is None:
            if required:
                self.refuse(name, "required", "This field is required.")
            return ""
        # A token pasted into the wrong field has the form of an identifier, and would be kept and shown.
        if not isinstance(value, str) or not IDENTIFIER.fullmatch(value.strip(" ")) or TOKEN_IN_TEXT.search(value):
            self.refuse(name, "not_an_identifier", "1 to 128 of A-Z a-z 0-9 . _ : + - and space are expected.")
            return ""
        return value.strip(" ")

    def uuid(self, source: Mapping[str, Any], name: str) -> UUID | None:
        value = source.get(name)
        if isinstance(value, str) and UUID_TEXT.fullmatch(value):
            return UUID(value)
        if value is None:
            self.refuse(name, "required", "This field is required.")
        else:
            self.refuse(name, "not_a_uuid", "A UUID in 32 hexadecimal digits is expected, with its dashes or without.")
        return None

    def moment(self, source: Mapping[str, Any], name: str, *, required: bool = False) -> datetime | None:
        """The time in UTC as stated, of any year: `usage.clocks` knows which ones a clock can have shown."""
        value = source.get(name)
        if value is None:
            if required:
                self.refuse(name, "required", "This field is required.")
            return None
        try:
            if not isinstance(value, str) or not value.isascii() or len(value) > 40:
                raise ValueError
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError
        except ValueError:
            self.refuse(name, "not_a_moment", "A time such as 2026-03-10T09:20:00Z, with its offset, is expected.")
            return None
        try:
            return moment.astimezone(UTC)
        except OverflowError:  # at either end of the calendar, where the offset no longer matters
            return moment.replace(tzinfo=UTC)

    def documents(self, source: Mapping[str, Any]) -> list[dict[str, Any]]:
        value = source.get("documents")
        if value is None:
            self.refuse("documents", "required", "This field is required.")
        elif not isinstance(value, list):
            self.refuse("documents", "not_a_list", "A list of documents is expected.")
        elif len(value) > MAX_DOCUMENTS:
            self.refuse("documents", "too_many", f"At most {MAX_DOCUMENTS} documents are expected.")
        else:
            return [self.document(item, f"documents[{index}]") for index, item in enumerate(value)]
        return []

    def document(self, source: Any, path: str) -> dict[str, Any]:
        if not isinstance(source, dict):
            self.refuse(path, "not_an_object", "A document is an object.")
            return {}
        self.dropped += len(source.keys() - DOCUMENT_KEYS)
        prefix = f"{path}."
        status = source.get("status")
        return {
            "ordinal": self.integer(source, "ordinal", prefix),
            "page_count": self.integer(source, "page_count", prefix),
            "status": status if status is None or status in STATUSES else "other",
            "duration_ms": self.integer(source, "duration_ms", prefix),
            "extension": extension(source.get("extension")),
        }


def extension(value: Any) -> str | None:
    """`.PDF` and `pdf` are `pdf`; whatever is no extension is `other`."""
    if value is None:
        return None
    match = EXTENSION.fullmatch(value.lower()) if isinstance(value, str) else None
    return match[1] if match else "other"


def read_report(body: Any) -> Report:
    """The report the body holds. Raises Problem: validation_failed with every field's error, or counters_mismatch."""
    reader = Reader()
    if not isinstance(body, dict):
        raise Problem("validation_failed", errors=[FieldError("body", "not_an_object", "A run is an object.")])
    reader.dropped = len(body.keys() - RUN_KEYS)
    run_id = reader.uuid(body, "run_id")
    fields: dict[str, Any] = {name: reader.identifier(body, name, required=False) for name in OPTIONAL_IDENTIFIERS}
    fields |= {name: reader.identifier(body, name, required=True) for name in REQUIRED_IDENTIFIERS}
    fields |= {name: reader.integer(body, name, required=True) for name in COUNTERS}
    fields |= {"started_at": reader.moment(body, "started_at"), "documents": reader.documents(body)}
    fields["documents_omitted"] = reader.integer(body, "documents_omitted") or 0
    sent_at = reader.moment(body, "sent_at")
    if reader.errors or run_id is None:
        raise Problem("validation_failed", errors=reader.errors)
    refuse_mismatch(fields)
    return Report(run_id=run_id, sent_at=sent_at, dropped_keys=reader.dropped, digest=digest(run_id, fields), **fields)


def refuse_mismatch(fields: Mapping[str, Any]) -> None:
    """Raise Problem where the counters contradict the documents.

    What is not listed can only add to the counters, and to the outcomes no more than it has documents.
    """
    listed, omitted = count(fields["documents"]), fields["documents_omitted"]
    added = {name: fields[name] - listed[name] for name in COUNTERS}
    outcomes = added["succeeded_count"] + added["failed_count"]
    fits = added["document_count"] == omitted and min(added.values()) >= 0 and outcomes <= omitted
    if not fits or (added["total_pages"] and not omitted):
        raise Problem("counters_mismatch")


def count(documents: list[dict[str, Any]]) -> dict[str, int]:
    """The counters the documents make: a status that is neither success nor failed counts in neither."""
    statuses = [document["status"] for document in documents]
    return {
        "document_count": len(documents),
        "succeeded_count": statuses.count("success"),
        "failed_count": statuses.count("failed"),
        "total_pages": sum(document["page_count"] or 0 for document in documents),
    }


def digest(run_id: UUID, fields: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form: what was sent twice in other words is the same run.

    `documents_omitted` is left out where it is 0, as in runs from before the field existed.
    """
    stated = {name: value for name, value in fields.items() if value or name != "documents_omitted"}
    canonical = json.dumps({"run_id": run_id.hex, **stated}, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
