"""Lists answer `{results, next}`, where `next` is the cursor of the following page or null."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination as BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.errors import invalid


class CursorPagination(BasePagination):
    page_size = 50
    max_page_size = 500
    page_size_query_param = "limit"
    ordering = "-id"

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit", str(self.page_size))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= self.max_page_size):
            raise invalid("limit", "out_of_range", f"A whole number from 1 to {self.max_page_size} is expected.")
        return int(text)

    def decode_cursor(self, request: Request) -> Any:
        try:
            return super().decode_cursor(request)
        except NotFound:
            raise invalid("cursor", "invalid", "A cursor is taken from `next` as it stands.") from None

    def encode_cursor(self, cursor: Any) -> str:
        """The cursor alone: the library gives a whole address, which a proxy may have made wrong."""
        query = dict(parse_qsl(urlsplit(super().encode_cursor(cursor)).query))
        return query[self.cursor_query_param]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})
