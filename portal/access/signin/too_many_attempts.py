"""The answer to one attempt too many: 429 with Retry-After, before anything costly was done."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from portal.base.failures import Failure


class TooManyAttempts(Exception):
    """A sign-in, or another call that costs a password hash, must wait. Raised before the hash."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"too many attempts, retry after {wait} s")
        self.wait = wait


class TooManyAttemptsMiddleware:
    """Answers TooManyAttempts, whichever view it came from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, TooManyAttempts):
            return None
        request.failure = Failure("throttled")  # type: ignore[attr-defined]
        response = render(request, "429.html", {"wait": error.wait, "minutes": ceil(error.wait / 60)}, status=429)
        response.headers["Retry-After"] = str(error.wait)
        return response
