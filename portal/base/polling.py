"""Requests by which an open page keeps itself up to date; nobody has pressed anything."""

from django.http import HttpRequest

LIVE = "live"


def is_poll(request: HttpRequest) -> bool:
    """Return whether the page asks for its live part anew: htmx names the element that it will replace."""
    return request.method == "GET" and request.headers.get("HX-Target") == LIVE


def mark_answered_poll(request: HttpRequest) -> None:
    request.is_answered_poll = True  # type: ignore[attr-defined]


def is_answered_poll(request: HttpRequest) -> bool:
    """Return whether the answer was a live part, or why there is none. Any caller can send the header of a poll."""
    return getattr(request, "is_answered_poll", False)
