"""The raw body of a request, and what reading it may raise."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.request import RawPostDataException
from gunicorn.http.errors import ParseException

# What reading a body may raise: a caller gone (OSError), a length or a chunk that is none, a body read already.
UNREADABLE = (OSError, ValueError, RawPostDataException, ParseException)


def body_stream(request: HttpRequest) -> Any:
    """Django reads as many bytes as CONTENT_LENGTH says, none where it is absent; a chunked body ends by itself."""
    chunked = "CONTENT_LENGTH" not in request.META and request.META.get("wsgi.input_terminated")
    return request.META["wsgi.input"] if chunked else request
