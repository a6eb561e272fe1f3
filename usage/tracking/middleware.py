"""Every call of the API and every page of the portal is noted: by whom, which route, how it went, how long it took.

Never a body, a query, a path, a header or a token; nothing here asks the database or waits for it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import cast

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import ResolverMatch
from django.utils import timezone

from portal.api.errors import is_api
from portal.base.failures import Failure, failure_of
from portal.base.logs import KNOWN_METHODS
from portal.base.problems import CODES
from usage.tracking.buffer import buffer
from usage.tracking.identity import who
from usage.tracking.records import Fault, Record

log = logging.getLogger("vigie.tracking")
FAILED = 400
SERVER_FAILED = 500
# What a page is said to have failed with, where its status says all there is to say.
BY_STATUS = {
    400: "bad_request",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    500: "internal_error",
    503: "not_ready",
}
UNKNOWN_ROUTE = "unknown"
PROBES = frozenset({"healthz", "readyz", "metrics"})


class TrackingMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        if not settings.TRACKING:
            raise MiddlewareNotUsed
        self.get_response = get_response
        self.share = settings.TRACKING_SAMPLE_PERCENT / 100

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        at, started = timezone.now(), time.perf_counter()
        response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse):
            self.note_at_end(request, response, at, started)
        else:
            self.note(request, response.status_code, at, started)
        return response

    def note_at_end(self, request: HttpRequest, response: StreamingHttpResponse, at: datetime, started: float) -> None:
        """Once the answer is closed, which every server does, also for a caller who left; that is no failure.

        A file is sent by the server itself and would not be if its content were looked at: its failures are not seen.
        """
        status = response.status_code

        def watched(content: Iterator[bytes]) -> Iterator[bytes]:
            nonlocal status
            try:
                yield from content
            except Exception as error:
                request.failure = failure_of(error)  # type: ignore[attr-defined]
                status = SERVER_FAILED
                raise

        if getattr(response, "file_to_stream", None) is None:
            response.streaming_content = watched(cast(Iterator[bytes], response.streaming_content))
        closers: list[Callable[[], None]] = response._resource_closers  # type: ignore[attr-defined]
        closers.append(lambda: self.note(request, status, at, started))

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Of views alone; what goes wrong in the API is noted where it becomes a problem."""
        request.failure = failure_of(exception)  # type: ignore[attr-defined]

    def note(self, request: HttpRequest, status: int, at: datetime, started: float) -> None:
        try:
            self.put(request, status, at, time.perf_counter() - started)
        except Exception:
            log.exception("a request could not be noted")

    def put(self, request: HttpRequest, status: int, at: datetime, seconds: float) -> None:
        match, failed = request.resolver_match, status >= FAILED
        if match is None and not (failed and is_api(request)):  # static files, no page, a browser that asks ahead
            return
        name, endpoint = named(match)
        if name in PROBES or name in settings.TRACKING_EXCLUDE:
            return
        if not (failed or self.share >= 1 or random.random() < self.share):  # noqa: S311
            return
        fault = fault_of(request, status) if failed else None
        buffer.put(Record(who(request), name, endpoint, at, round(seconds * 1000), fault))


def named(match: ResolverMatch | None) -> tuple[str, str]:
    """The route's name, and the route itself, with its parameters as they are called and not as they are."""
    return (match.view_name, f"/{match.route}") if match else (UNKNOWN_ROUTE, "")


def fault_of(request: HttpRequest, status: int) -> Fault:
    """A refusal is named by its code, what nobody foresaw by its class; the sentence is a code's in any case."""
    method = request.method if request.method in KNOWN_METHODS else "OTHER"
    code = BY_STATUS.get(status, f"http_{status}")
    failure: Failure | None = getattr(request, "failure", None)
    if failure is None or (status < SERVER_FAILED and failure.kind not in CODES):
        failure = Failure(code)
    known = CODES.get(failure.kind) or CODES.get(code)
    return Fault(str(method), failure.kind, status, known.detail if known else "", failure.stack)
