"""The answer to one attempt too many: 429 with Retry-After, before anything costly was done."""

from math import ceil

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin

from portal.base.failures import Failure


class TooManyAttempts(Exception):
    """A sign-in, or another call that costs a password hash, must wait. Raised before the hash."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"too many attempts, retry after {wait} s")
        self.wait = wait


class TooManyAttemptsMiddleware(MiddlewareMixin):
    """Answers TooManyAttempts, whichever view it came from."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, TooManyAttempts):
            return None
        request.failure = Failure("throttled")  # type: ignore[attr-defined]
        response = render(request, "429.html", {"wait": error.wait, "minutes": ceil(error.wait / 60)}, status=429)
        response.headers["Retry-After"] = str(error.wait)
        return response
