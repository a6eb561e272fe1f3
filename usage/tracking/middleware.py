"""Track each API call and each page of the portal: caller, route, outcome and duration.

Bodies, queries, paths, headers and tokens are never tracked. Nothing here queries the database or waits for it.
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
from portal.base.failures import Failure, describe_failure
from portal.base.logs import KNOWN_METHODS
from portal.base.polling import is_answered_poll
from portal.base.problems import CODES
from usage.tracking.buffer import buffer
from usage.tracking.identity import caller_of
from usage.tracking.records import RequestError, RequestRecord

log = logging.getLogger("vigie.tracking")
FAILED = 400
SERVER_FAILED = 500
# Error codes of pages that failed without an exception.
CODE_BY_STATUS = {
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
        self.sample_rate = settings.TRACKING_SAMPLE_PERCENT / 100

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        at, started = timezone.now(), time.perf_counter()
        response = self.get_response(request)
        if is_answered_poll(request):
            return response
        if isinstance(response, StreamingHttpResponse):
            self.track_when_closed(request, response, at, started)
        else:
            self.track(request, response.status_code, at, started)
        return response

    def track_when_closed(
        self, request: HttpRequest, response: StreamingHttpResponse, at: datetime, started: float
    ) -> None:
        """Track the request when the response is closed, as servers do even if the caller disconnects.

        Files are not wrapped, since the server could then not send them itself: errors while sending are not tracked.
        """
        status = response.status_code

        def catch_errors(content: Iterator[bytes]) -> Iterator[bytes]:
            nonlocal status
            try:
                yield from content
            except Exception as error:
                request.failure = describe_failure(error)  # type: ignore[attr-defined]
                status = SERVER_FAILED
                raise

        if getattr(response, "file_to_stream", None) is None:
            response.streaming_content = catch_errors(cast(Iterator[bytes], response.streaming_content))
        closers: list[Callable[[], None]] = response._resource_closers  # type: ignore[attr-defined]
        closers.append(lambda: self.track(request, status, at, started))

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Remember the exception of a page. Those of the API are remembered where they become problems."""
        request.failure = describe_failure(exception)  # type: ignore[attr-defined]

    def track(self, request: HttpRequest, status: int, at: datetime, started: float) -> None:
        try:
            self.enqueue(request, status, at, time.perf_counter() - started)
        except Exception:
            log.exception("a request could not be tracked")

    def enqueue(self, request: HttpRequest, status: int, at: datetime, seconds: float) -> None:
        match, failed = request.resolver_match, status >= FAILED
        if match is None and not (failed and is_api(request)):  # static files, unknown pages, CORS preflights
            return
        name, endpoint = route_of(match)
        if name in PROBES or name in settings.TRACKING_EXCLUDE:
            return
        if not (failed or self.sample_rate >= 1 or random.random() < self.sample_rate):  # noqa: S311
            return
        error = build_request_error(request, status) if failed else None
        buffer.put(RequestRecord(caller_of(request), name, endpoint, at, round(seconds * 1000), error))


def route_of(match: ResolverMatch | None) -> tuple[str, str]:
    """Return the name of the route and its pattern, which has parameter names instead of values."""
    return (match.view_name, f"/{match.route}") if match else (UNKNOWN_ROUTE, "")


def build_request_error(request: HttpRequest, status: int) -> RequestError:
    """Name a refusal by its code and an unexpected error by its class. The message is always that of a code."""
    method = request.method if request.method in KNOWN_METHODS else "OTHER"
    code = CODE_BY_STATUS.get(status, f"http_{status}")
    failure: Failure | None = getattr(request, "failure", None)
    if failure is None or (status < SERVER_FAILED and failure.kind not in CODES):
        failure = Failure(code)
    known = CODES.get(failure.kind) or CODES.get(code)
    return RequestError(str(method), failure.kind, status, known.detail if known else "", failure.stack)
