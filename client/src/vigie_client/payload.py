"""One run as the portal takes it. What isn't on the whitelist never enters a payload."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Iterable, Optional, Union

LARGEST_INTEGER = 2**31 - 1
_EXTENSION = re.compile(r"\.?[a-z0-9]{1,10}")


def new_run_id() -> str:
    """A fresh run id: 32 hex digits. Make one per run and keep it: the portal counts a run id once."""
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
) -> dict[str, Any]:
    """The payload of one run, with counters derived from its documents as the portal derives them.

    Of each document only `ordinal`, `page_count`, `status`, `duration_ms` and `extension` are carried: a name or a path
    in the mapping stays here. Numbers that aren't plain integers from 0 to 2^31-1 become None; a status other than
    `success` and `failed` becomes `other` and counts in neither; an absent ordinal is the document's place, from 0.

    Give `started_at`, or a run that waited in the spool is counted on the day it arrives. A time without a zone is
    taken as UTC; a string that isn't an ISO 8601 time raises ValueError.
    """
    rows = [_document(place, document) for place, document in enumerate(documents or ())]
    payload: dict[str, Any] = {
        "run_id": run_id.hex if isinstance(run_id, uuid.UUID) else run_id,
        "license_ref": license_ref,
        "machine_id": machine_id,
        "app_name": app_name,
        "app_version": app_version,
        "document_count": len(rows),
        "succeeded_count": sum(row["status"] == "success" for row in rows),
        "failed_count": sum(row["status"] == "failed" for row in rows),
        "total_pages": sum(row["page_count"] or 0 for row in rows),
        "documents": rows,
    }
    if started_at is not None:
        payload["started_at"] = utc_text(parse_time(started_at))
    return payload


def parse_time(value: Union[datetime, str]) -> datetime:
    """An aware UTC time from a datetime or an ISO 8601 string; ValueError, without echo, for anything else."""
    if isinstance(value, str):
        try:
            # Python 3.9 and 3.10 don't know the suffix Z.
            value = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value.strip()))
        except ValueError:
            raise ValueError("not an ISO 8601 time") from None
    if not isinstance(value, datetime):
        raise ValueError("not a time")
    aware = value if value.utcoffset() is not None else value.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc)


def utc_text(moment: datetime) -> str:
    """`2026-03-10T09:20:00Z`: the form the portal documents."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def plain_int(value: Any) -> Optional[int]:
    """`value` when it is an integer from 0 to 2^31-1 and nothing that merely passes for one (True, 3.0), else None."""
    return value if type(value) is int and 0 <= value <= LARGEST_INTEGER else None


def _document(place: int, document: Any) -> dict[str, Any]:
    given = document if isinstance(document, Mapping) else {}
    ordinal = given.get("ordinal")
    return {
        "ordinal": place if ordinal is None else plain_int(ordinal),
        "page_count": plain_int(given.get("page_count")),
        "status": _status(given.get("status")),
        "duration_ms": plain_int(given.get("duration_ms")),
        "extension": _extension(given.get("extension")),
    }


def _status(status: Any) -> Optional[str]:
    """The portal stores any other text as `other`; saying so here keeps that text, which may name a file, at home."""
    if status is None:
        return None
    return str(status) if isinstance(status, str) and status in ("success", "failed") else "other"


def _extension(extension: Any) -> Optional[str]:
    if extension is None:
        return None
    lowered = extension.lower() if isinstance(extension, str) else ""
    return lowered if _EXTENSION.fullmatch(lowered) else "other"
