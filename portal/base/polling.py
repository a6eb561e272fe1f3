"""Requests by which an open page keeps itself up to date; nobody has pressed anything."""

from django.http import HttpRequest

LIVE = "live"


def is_poll(request: HttpRequest) -> bool:
    """Return whether the page asks for its live part anew: htmx names the element that it will replace."""
    return request.method == "GET" and request.headers.get("HX-Target") == LIVE
