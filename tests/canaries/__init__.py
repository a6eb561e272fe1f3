"""Canaries: planted wherever a caller can send a value, and searched for wherever one must not appear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import URLPattern, get_resolver
from django.urls.converters import IntConverter, UUIDConverter

from portal.base.logs import JsonFormatter

CANARY = "K4NARI"
# What could be asked of any list, export or page.
PARAMETERS = (
    *("q", "search", "page", "limit", "cursor", "o", "format", "from", "to", "group", "hours", "days", "status"),
    *("version", "state", "key", "next", "_popup", "_to_field", "_changelist_filters"),
    *(CANARY, f"{CANARY}__{CANARY}", f"pk__{CANARY}"),
)
HEADERS = {
    "User-Agent": f"Mozilla/5.0 ({CANARY}) Firefox/131 {CANARY}",
    "Referer": f"https://example.org/{CANARY}?{CANARY}={CANARY}",
    "X-Forwarded-For": f"{CANARY}, 198.51.100.7",
    "X-Real-IP": CANARY,
    "Forwarded": f"for={CANARY}",
    "Accept-Language": f"{CANARY}, fr;q=0.5",
    "Accept": f"text/{CANARY}",
    "Origin": f"https://{CANARY}.example.org",
    "If-None-Match": f'"{CANARY}"',
    "If-Modified-Since": CANARY,
    "Range": f"bytes={CANARY}",
    "X-Request-Id": CANARY,
    "X-Content-SHA256": CANARY,
    "X-File-Name": f"{CANARY}.pdf",
}
COOKIES = (CANARY, "csrftoken", "django_language", "messages")
METHODS = ("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
REFUSED_TOKENS = (
    f"Bearer {CANARY}",
    f"Bearer vigie_client_{CANARY}_{CANARY}_{CANARY}",
    f"Basic {CANARY}",
    CANARY,
)


class Route(NamedTuple):
    """A URL pattern, with an address of it that has the canary in each text parameter."""

    pattern: URLPattern
    path: str


def routes() -> list[Route]:
    """Return all routes, the one that ends a session last."""
    return sorted(walk(get_resolver()), key=lambda route: "logout" in route.path)


def walk(resolver: Any, prefix: str = "/") -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield Route(pattern, prefix + planted_in(pattern))
        else:
            yield from walk(pattern, prefix + str(pattern.pattern))


def planted_in(pattern: URLPattern) -> str:
    path = str(pattern.pattern)
    if path.startswith("^"):
        return "usage/"  # an app's own page
    for name, converter in pattern.pattern.converters.items():
        own = {IntConverter: "1", UUIDConverter: "0" * 32}.get(type(converter), CANARY)
        path = path.replace(f"<{name}>", own)
        path = path.replace(f"<{name_of(converter)}:{name}>", own)
    return path.replace("(?P<url>.*)$", f"{CANARY}/{CANARY}.pdf")


def name_of(converter: Any) -> str:
    return type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")


def bodies() -> Iterator[tuple[bytes, str]]:
    """Return request bodies with their media types."""
    yield f'{{"{CANARY}": "{CANARY}", "nested": [{{"{CANARY}": ["{CANARY}"]}}]}}'.encode(), "application/json"
    yield f'{{"{CANARY}": '.encode(), "application/json"
    yield f"password={CANARY}&{CANARY}={CANARY}&_selected_action={CANARY}&action={CANARY}".encode(), FORM
    upload = SimpleUploadedFile(f"{CANARY}.pdf", CANARY.encode(), f"application/{CANARY}")
    yield encode_multipart(BOUNDARY, {CANARY: CANARY, "file": upload, "password": CANARY}), MULTIPART_CONTENT
    yield CANARY.encode(), f"text/{CANARY}"


FORM = "application/x-www-form-urlencoded"


def briefly(path: str) -> Iterator[dict[str, Any]]:
    """Yield arguments of `Client.generic`: queries, bodies and methods, each with the canary."""
    query = "&".join(f"{name}={CANARY}" for name in PARAMETERS)
    for asked in (query, f"q={CANARY}", f"pk__{CANARY}={CANARY}"):
        yield {"method": "GET", "path": f"{path}?{asked}"}
    for body, content_type in bodies():
        yield {"method": "POST", "path": f"{path}?{CANARY}", "data": body, "content_type": content_type}
    yield {"method": CANARY, "path": f"{path}?{CANARY}", "data": CANARY.encode()}


def thoroughly(path: str) -> Iterator[dict[str, Any]]:
    """Yield each parameter by itself with every method: one refusal would hide what the other parameters do."""
    yield from briefly(path)
    for name in PARAMETERS:
        yield {"method": "GET", "path": f"{path}?{name}={CANARY}"}
    body, content_type = next(bodies())
    for method in METHODS:
        yield {"method": method, "path": f"{path}?{CANARY}", "data": body, "content_type": content_type}


def send(client: Client, path: str, how: Callable[[str], Iterator[dict[str, Any]]], **headers: str) -> Iterator[Any]:
    """Send every kind of request to an address, with the canary in each header, and return the responses."""
    for name in COOKIES:
        client.cookies[name] = CANARY
    for arguments in how(path):
        yield client.generic(**arguments, headers=HEADERS | headers)


# --- Where it may have come to ---------------------------------------------------------------------------------------


def everything_kept() -> Iterator[str]:
    """Return every row of every table as text, with the decoded content of sessions."""
    for model in apps.get_models(include_auto_created=True):
        for row in model._default_manager.values_list():
            yield f"{model.__name__} {row!r}"
    for session in Session.objects.all():
        yield f"Session {session.get_decoded()!r}"


def everything_logged(caplog: Any, capfd: Any) -> Iterator[str]:
    """Return every log line as written and as other formatters would write it, and output that bypassed the logs."""
    for record in caplog.records:
        yield JsonFormatter().format(record)
    yield from caplog.text.splitlines()
    output = capfd.readouterr()
    yield from (output.out + output.err).splitlines()


def found(places: Iterator[str]) -> list[str]:
    return [place for place in places if CANARY in place]
