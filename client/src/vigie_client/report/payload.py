"""Build the payload of a run. Only whitelisted fields of the documents enter it."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Optional, Union

from vigie_client.contract import COUNTERS, MAX_BODY, MAX_DOCUMENTS, MAX_INTEGER
from vigie_client.http.times import format_utc, parse_time
from vigie_client.report.payload_rules import (
    Mistakes,
    convert_extension,
    convert_integer,
    convert_status,
    normalize_machine_id,
    normalize_name,
    normalize_run_id,
    optional_name,
)

# Bytes of a body for documents; the rest is for the other fields.
_MAX_LISTED_BYTES = MAX_BODY - 16 * 1024


def new_run_id() -> str:
    """Return a new run id of 32 hex digits. Keep it for retries: the portal counts a run id once."""
    return uuid.uuid4().hex


def build_usage_payload(
    *,
    run_id: Union[str, uuid.UUID],
    app_name: str,
    app_version: str,
    license_ref: Optional[str] = None,
    machine_id: Optional[str] = None,
    documents: Optional[Iterable[Mapping[str, Any]]] = None,
    started_at: Union[datetime, str, None] = None,
    strict: Optional[bool] = None,
) -> dict[str, Any]:
    """Return the payload of one run, with counters derived from its documents as the portal derives them.

    Only `ordinal`, `page_count`, `status`, `duration_ms` and `extension` of each document are included, never a name or
    a path. A missing ordinal is the document's position, from 0. At most 10,000 documents, or those that fit one call,
    are listed; `documents_omitted` counts the others, and the counters include them.

    A value that the portal would refuse raises ValueError if `strict`, which is the default under `python -X dev`. The
    error names field and rule, never the value. Otherwise the same text is logged, and the value is reduced to a valid
    one; a `license_ref` is omitted instead, since a reduced one might be another customer's.

    Pass `started_at`, or a run that waited in the spool is counted on the day it arrives. A time without a time zone is
    UTC.
    """
    mistakes = Mistakes()
    rows = _DocumentRows(documents, mistakes)
    payload: dict[str, Any] = {
        "run_id": normalize_run_id(run_id, mistakes),
        "license_ref": optional_name("license_ref", license_ref, mistakes),
        "machine_id": normalize_machine_id(machine_id, mistakes),
        "app_name": normalize_name("app_name", app_name, mistakes),
        "app_version": normalize_name("app_version", app_version, mistakes),
        **rows.counters,
        "documents": rows.listed,
    }
    if rows.omitted:
        payload["documents_omitted"] = rows.omitted
    started = _format_start(started_at, mistakes)
    if started is not None:
        payload["started_at"] = started
    mistakes.raise_or_log(strict=sys.flags.dev_mode if strict is None else strict)
    return payload


def _format_start(value: Any, mistakes: Mistakes) -> Optional[str]:
    if value is None:
        return None
    try:
        return format_utc(parse_time(value))
    except (ValueError, OverflowError):
        mistakes.add("started_at", "a datetime or an ISO 8601 time is expected")
        return None


class _DocumentRows:
    """Counts all documents of a run and lists the first ones."""

    def __init__(self, documents: Any, mistakes: Mistakes) -> None:
        self.listed: list[dict[str, Any]] = []
        self._bytes, self._is_full = 0, False
        self.counters = dict.fromkeys(COUNTERS, 0)
        for position, document in enumerate(_check_documents(documents, mistakes)):
            self._add(_document_row(position, document, mistakes), mistakes)

    @property
    def omitted(self) -> int:
        return self.counters["document_count"] - len(self.listed)

    def _add(self, row: dict[str, Any], mistakes: Mistakes) -> None:
        if self.counters["total_pages"] + (row["page_count"] or 0) > MAX_INTEGER:
            mistakes.add("total_pages", f"at most {MAX_INTEGER} pages are expected")
            row["page_count"] = None
        self.counters["document_count"] += 1
        self.counters["succeeded_count"] += row["status"] == "success"
        self.counters["failed_count"] += row["status"] == "failed"
        self.counters["total_pages"] += row["page_count"] or 0
        self._list(row)

    def _list(self, row: dict[str, Any]) -> None:
        if self._is_full:
            return
        self._bytes += len(json.dumps(row)) + len(", ")
        self._is_full = len(self.listed) == MAX_DOCUMENTS or self._bytes > _MAX_LISTED_BYTES
        if not self._is_full:
            self.listed.append(row)


def _check_documents(documents: Any, mistakes: Mistakes) -> Iterable[Any]:
    if documents is None:
        return ()
    if isinstance(documents, Iterable) and not isinstance(documents, (str, bytes, Mapping)):
        return documents
    mistakes.add("documents", "an iterable of mappings is expected")
    return (documents,)


def _document_row(position: int, document: Any, mistakes: Mistakes) -> dict[str, Any]:
    field = f"documents[{position}]"
    if not isinstance(document, Mapping):
        mistakes.add(field, "a mapping is expected")
    given = document if isinstance(document, Mapping) else {}
    ordinal = given.get("ordinal")
    return {
        "ordinal": position if ordinal is None else convert_integer(f"{field}.ordinal", ordinal, mistakes),
        "page_count": convert_integer(f"{field}.page_count", given.get("page_count"), mistakes),
        "status": convert_status(f"{field}.status", given.get("status"), mistakes),
        "duration_ms": convert_integer(f"{field}.duration_ms", given.get("duration_ms"), mistakes, rounded=True),
        "extension": convert_extension(f"{field}.extension", given.get("extension"), mistakes),
    }
