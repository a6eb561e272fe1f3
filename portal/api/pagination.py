"""Lists answer `{results, next}`, where `next` is the cursor of the following page or null."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ValidationError
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination as BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from portal.base.problems import invalid_field

PAGE_SIZE, MAX_PAGE_SIZE = 50, 500
PAGE_PARAMETERS = [
    OpenApiParameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE}, description="Rows"
    ),
    OpenApiParameter("cursor", {"type": "string", "format": "cursor"}, description="`next` of the page before"),
]


class CursorPagination(BasePagination):
    page_size = PAGE_SIZE
    ordering = "-id"

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit", str(PAGE_SIZE))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE_SIZE):
            raise invalid_field("limit", "out_of_range", f"A whole number from 1 to {MAX_PAGE_SIZE} is expected.")
        return int(text)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        first = self.get_ordering(request, queryset, view)[0]
        self.position_field = queryset.model._meta.get_field(first.lstrip("-"))
        return super().paginate_queryset(queryset, request, view)

    def decode_cursor(self, request: Request) -> Any:
        """The library believes what it decodes; what is no position of ours would fail in the query."""
        text = request.query_params.get(self.cursor_query_param)
        if not text:
            return None
        try:
            cursor: Any = super().decode_cursor(request)
            check_position(self.position_field.to_python(cursor.position))
        except (NotFound, ValueError, OverflowError, ValidationError):
            raise invalid_field("cursor", "invalid", "A cursor is taken from `next` as it stands.") from None
        return cursor

    def encode_cursor(self, cursor: Any) -> str:
        """The cursor alone: the library gives a whole address, which a proxy may have made wrong."""
        query = dict(parse_qsl(urlsplit(super().encode_cursor(cursor)).query))
        return query[self.cursor_query_param]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})


def check_position(position: Any) -> None:
    """Raises ValueError or OverflowError for a position that no row can have."""
    if position is None:
        raise ValueError("no position")
    if isinstance(position, datetime):
        if position.tzinfo is None:
            raise ValueError("no zone")
        position.astimezone(UTC)
