"""The raw body of a request: how it is read, and how what nobody wanted is thrown away."""

from __future__ import annotations

import contextlib
from typing import Any

from django.http import HttpRequest
from django.http.request import RawPostDataException
from gunicorn.http.errors import ParseException

# What reading a body may raise: a caller gone (OSError), a length or a chunk that is none, a body read already.
UNREADABLE = (OSError, ValueError, RawPostDataException, ParseException)
CHUNK = 64 * 1024
MOST_DRAINED = 8 * 1024 * 1024


def body_stream(request: HttpRequest) -> Any:
    """Django reads as many bytes as CONTENT_LENGTH says, none where it is absent; a chunked body ends by itself."""
    chunked = "CONTENT_LENGTH" not in request.META and request.META.get("wsgi.input_terminated")
    return request.META["wsgi.input"] if chunked else request


def drain(request: HttpRequest) -> None:
    """Reads what a refusal left unread: closed with it in the pipe, the connection would take the answer along."""
    left = MOST_DRAINED
    with contextlib.suppress(*UNREADABLE):
        while left > 0 and (chunk := body_stream(request).read(CHUNK)):
            left -= len(chunk)
