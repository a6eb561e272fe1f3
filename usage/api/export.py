"""`GET /api/v1/usage/export`: the runs of a period as CSV or JSON, one by one or grouped, of any size."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from portal import audit
from portal.api.views import ApiView, Kind
from portal.base.moments import format_iso, midnight
from portal.base.problems import FieldError, Problem
from portal.desk.exports import CSV, StreamedResponse, attachment_headers, csv_chunks, json_chunks
from usage.exports import GROUPS, ExportQuery, export_rows

FORMATS = {"csv": (csv_chunks, CSV), "json": (json_chunks, "application/json")}
DEFAULT_LENGTH = timedelta(days=30)
# Years whose days every time zone can represent.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
DATE = re.compile(r"\d{4}-\d\d-\d\d")
MOMENT = "A day such as 2026-03-01, or a moment with its offset such as 2026-03-01T00:00:00Z; write + as %2B."
MOMENT_SCHEMA = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}], "pattern": "^20[0-9]{2}-"}
GROUPS_SCHEMA = {"type": "array", "items": {"type": "string", "enum": list(GROUPS)}, "minItems": 1, "uniqueItems": True}
DESCRIPTIONS = {
    "from": "A day, from midnight in the portal's time zone on, or a moment with its offset. Default: 30 days earlier.",
    "to": "The same; it is not included. Default: now.",
    "group": f"Any of {', '.join(GROUPS)}, separated by commas. Without it each run is a row.",
}


class ExportView(ApiView):
    """Export the runs of a period, one by one or summed up. `format` alone decides the format, not `Accept`."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "usage.export_run"

    @extend_schema(
        parameters=[
            OpenApiParameter("from", MOMENT_SCHEMA, description=DESCRIPTIONS["from"]),
            OpenApiParameter("to", MOMENT_SCHEMA, description=DESCRIPTIONS["to"]),
            OpenApiParameter("group", GROUPS_SCHEMA, style="form", explode=False, description=DESCRIPTIONS["group"]),
            OpenApiParameter("format", str, enum=list(FORMATS), default="csv"),
        ],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "A header, and a line for each row"),
            (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, "`results`, and `next`, which is null"),
        },
    )
    def get(self, request: Request) -> StreamedResponse:
        now = timezone.now()
        query, form = read_query(request.query_params, now)
        note = {
            "from": format_iso(query.since),
            "to": format_iso(query.until),
            "group": ",".join(query.groups),
            "format": form,
        }
        audit.record_event("usage.exported", "usage", request=request._request, after=note)
        chunks, content_type = FORMATS[form]
        content = chunks(query.columns, export_rows(query, now))
        answer = StreamedResponse(content, content_type=content_type, headers=attachment_headers("usage", form))
        return answer.render()  # Django would render outside this view, where errors no longer become problems


# --- Query parameters ------------------------------------------------------------------------------------------------


def read_query(parameters: Mapping[str, str], now: datetime) -> tuple[ExportQuery, str]:
    """Return the query and the format. Raises Problem: validation_failed with the errors of all parameters."""
    errors: list[FieldError] = []

    def read(name: str, parse: Callable[[str], Any], default: Any, code: str, message: str) -> Any:
        try:
            return parse(parameters[name]) if name in parameters else default
        except (ValueError, OverflowError):
            errors.append(FieldError(name, code, message))
            return default

    until = read("to", parse_time, now, "not_a_moment", MOMENT)
    since = read("from", parse_time, midnight(timezone.localdate(until - DEFAULT_LENGTH)), "not_a_moment", MOMENT)
    groups = read("group", parse_groups, (), "not_groups", f"Each once, separated by commas: {', '.join(GROUPS)}.")
    form = read("format", parse_format, "csv", "invalid_choice", "csv or json is expected.")
    if not errors and since >= until:
        errors.append(FieldError("from", "not_before_to", "The time must begin before it ends."))
    if errors:
        raise Problem("validation_failed", errors=errors)
    return ExportQuery(since, until, groups), form


def parse_time(text: str) -> datetime:
    """Return the time in UTC; for a date, its midnight in the portal's zone. Raises ValueError or OverflowError."""
    if DATE.fullmatch(text):
        time = midnight(date.fromisoformat(text))
    else:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise ValueError
        time = time.astimezone(UTC)
    if not EARLIEST <= time < LATEST:
        raise ValueError
    return time


def parse_groups(text: str) -> tuple[str, ...]:
    groups = tuple(text.split(","))
    if len(set(groups)) < len(groups) or not set(groups) <= GROUPS.keys():
        raise ValueError
    return groups


def parse_format(text: str) -> str:
    if text not in FORMATS:
        raise ValueError
    return text
