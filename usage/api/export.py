"""`GET /api/v1/usage/export`: what was used in a time, as CSV or JSON, of any size."""

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
from portal.base.moments import iso
from portal.base.problems import FieldError, Problem
from portal.desk.exports import CSV, Streamed, attached, csv_chunks, json_chunks
from usage.consumption import midnight
from usage.exports import GROUPS, Wanted, rows_of

FORMATS = {"csv": (csv_chunks, CSV), "json": (json_chunks, "application/json")}
USUAL = timedelta(days=30)
# The years of which every time zone can show the days.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
DAY_ALONE = re.compile(r"\d{4}-\d\d-\d\d")
MOMENT = "A day such as 2026-03-01, or a moment with its offset such as 2026-03-01T00:00:00Z; write + as %2B."
MOMENT_SCHEMA = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}], "pattern": "^20[0-9]{2}-"}
GROUPS_SCHEMA = {"type": "array", "items": {"type": "string", "enum": list(GROUPS)}, "minItems": 1, "uniqueItems": True}
DESCRIPTIONS = {
    "from": "A day, from midnight in the portal's time zone on, or a moment with its offset. Default: 30 days earlier.",
    "to": "The same; it is not included. Default: now.",
    "group": f"Any of {', '.join(GROUPS)}, separated by commas. Without it each run is a row.",
}


class ExportView(ApiView):
    """Runs of a time, each by itself or summed up. `format` alone decides the form of the answer."""

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
    def get(self, request: Request) -> Streamed:
        now = timezone.now()
        wanted, form = asked(request.query_params, now)
        note = {"from": iso(wanted.since), "to": iso(wanted.until), "group": ",".join(wanted.groups), "format": form}
        audit.record_event("usage.exported", "usage", request=request._request, after=note)
        chunks, content_type = FORMATS[form]
        content = chunks(wanted.columns, rows_of(wanted, now))
        answer = Streamed(content, content_type=content_type, headers=attached("usage", form))
        return answer.render()  # Django would do it outside this view, where no failure becomes a problem any more


# --- What was asked for ----------------------------------------------------------------------------------------------


def asked(query: Mapping[str, str], now: datetime) -> tuple[Wanted, str]:
    """What is wanted, and in which form. Raises Problem: validation_failed with every field's error."""
    errors: list[FieldError] = []

    def read(name: str, reader: Callable[[str], Any], default: Any, code: str, message: str) -> Any:
        try:
            return reader(query[name]) if name in query else default
        except (ValueError, OverflowError):
            errors.append(FieldError(name, code, message))
            return default

    until = read("to", moment_of, now, "not_a_moment", MOMENT)
    since = read("from", moment_of, midnight(timezone.localdate(until - USUAL)), "not_a_moment", MOMENT)
    groups = read("group", groups_of, (), "not_groups", f"Each once, separated by commas: {', '.join(GROUPS)}.")
    form = read("format", form_of, "csv", "invalid_choice", "csv or json is expected.")
    if not errors and since >= until:
        errors.append(FieldError("from", "not_before_to", "The time must begin before it ends."))
    if errors:
        raise Problem("validation_failed", errors=errors)
    return Wanted(since, until, groups), form


def moment_of(text: str) -> datetime:
    """A moment, in UTC. Raises ValueError, or OverflowError."""
    if DAY_ALONE.fullmatch(text):
        moment = midnight(date.fromisoformat(text))
    else:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(UTC)
    if not EARLIEST <= moment < LATEST:
        raise ValueError
    return moment


def groups_of(text: str) -> tuple[str, ...]:
    groups = tuple(text.split(","))
    if len(set(groups)) < len(groups) or not set(groups) <= GROUPS.keys():
        raise ValueError
    return groups


def form_of(text: str) -> str:
    if text not in FORMATS:
        raise ValueError
    return text
