"""Error responses: turn any exception of a view, or of Django outside the views, into a problem response."""

import contextlib
import logging
import sys
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.csrf import csrf_failure as csrf_failure_page
from django.views.defaults import bad_request, page_not_found, server_error
from rest_framework import exceptions as drf

from portal import audit
from portal.base import disks
from portal.base.failures import Failure, describe_failure
from portal.base.problems import AUDITED, FieldError, Problem

log = logging.getLogger("vigie.api")
CONTENT_TYPE = "application/problem+json"
UNFORESEEN = frozenset({"internal_error", "not_ready", "disk_full"})


def as_problem(error: Exception) -> Problem:
    """Return the problem that an exception of a view means to its caller."""
    match error:
        case Problem():
            return error
        case drf.ValidationError():
            return Problem("validation_failed", errors=flatten_errors(error.get_full_details()))
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return Problem("not_authenticated")
        case PermissionDenied() | drf.PermissionDenied():
            return Problem("permission_denied")
        case Http404() | drf.NotFound():
            return Problem("not_found")
        case drf.MethodNotAllowed():
            return Problem("method_not_allowed")
        case OperationalError() | InterfaceError():
            log.error("the database does not answer: %s", disks.describe_error(error))
            if disks.means_full(error):
                return Problem("disk_full", headers={"Retry-After": "60"})
            return Problem("not_ready", headers={"Retry-After": "5"})
        case _:
            log.error("a view failed", exc_info=error)
            return Problem("internal_error")


MESSAGES = {
    "required": "This field is required.",
    "null": "This field may not be null.",
    "blank": "This field may not be empty.",
    "invalid": "The value is not as documented.",
    "invalid_choice": "The value is not one of those documented.",
    "surrogate_characters_not_allowed": "The text must be well-formed Unicode.",
    "null_characters_not_allowed": "Control characters are not allowed.",
}


def flatten_errors(details: Any, path: str = "") -> list[FieldError]:
    """DRF's nested details as a flat list. Only messages of our own serializers' limits are passed on as they are."""
    if isinstance(details, list):
        return [error for item in details for error in flatten_errors(item, path)]
    if "message" in details and "code" in details:
        code = str(details["code"])
        return [FieldError(path or "body", code, MESSAGES.get(code, str(details["message"])))]
    return [
        error
        for name, value in details.items()
        for error in flatten_errors(value, "" if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    ]


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's hook. Return JSON in any case: the view's own renderer may write YAML, or a page."""
    return problem_response(error, context["request"]._request)


def problem_response(error: Exception, request: HttpRequest) -> HttpResponse:
    """Answer an exception as a problem, and record an important refusal in the audit trail."""
    problem = record_problem(error, request)
    return JsonResponse(problem.body(), status=problem.status, headers=problem.all_headers(), content_type=CONTENT_TYPE)


def record_problem(error: Exception, request: HttpRequest) -> Problem:
    problem = as_problem(error)
    # For whoever tracks requests: the code of a refusal, of what nobody foresaw its class and where it was raised.
    foreseen = problem.code not in UNFORESEEN
    request.failure = Failure(problem.code) if foreseen else describe_failure(error)  # type: ignore[attr-defined]
    if problem.code in AUDITED:
        audit.record_refusal(request, problem.code, problem.subject)
    return problem


# --- Outside the views -----------------------------------------------------------------------------------------------


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def load_user(request: HttpRequest) -> None:
    """Load the session's user for whoever tracks the request: the view that would have done so was not reached."""
    with contextlib.suppress(DatabaseError):
        getattr(getattr(request, "user", None), "pk", None)


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    load_user(request)
    return problem_response(Problem("bad_request"), request) if is_api(request) else bad_request(request, exception)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request):
        return problem_response(Problem("not_found"), request)
    return page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    """Django calls it while it handles what was raised outside of the views, by a middleware or the resolver."""
    if not is_api(request):
        return server_error(request)
    error = sys.exc_info()[1]
    return problem_response(error if isinstance(error, Exception) else Problem("internal_error"), request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    load_user(request)
    if is_api(request):
        return problem_response(Problem("permission_denied"), request)
    return csrf_failure_page(request, reason)
