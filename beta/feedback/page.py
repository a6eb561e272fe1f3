"""The page where a participant says what they think: by a programme's public key, without a script or a cookie.

What was typed stands nowhere but in the answer to whoever typed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from beta.feedback import intake
from beta.feedback.questions import FIELDS, LIMITS, SCORES, SEVERITIES, TYPES, page_of, sentences, whole_refusal
from beta.models import BetaFeedback, BetaProgramme
from portal.api.bodies import Limits, read_limited
from portal.api.errors import refused
from portal.base.problems import Problem
from portal.base.uploads import fields_in

# A form's body has up to three bytes for one of a character: whatever the fields let in is to arrive.
MOST_SENT = 2 * intake.MOST_SENT_BY_KEY
LIMITS_OF_FORM = Limits(sent=MOST_SENT)
# What an application may fill in by the query of the page's address.
PREFILLED = {"participant": "participant", "page": "page", "version": "app_version"}


# Nothing here rests on a session, so there is nothing for another site to abuse; a token against it would be a cookie.
@method_decorator(csrf_exempt, name="dispatch")
class FeedbackPage(View):
    """The form; after it was sent well, `?thanks=1`."""

    http_method_names = ["get", "head", "post"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if language_of(request):
            translation.activate(language_of(request))
        try:
            response = super().dispatch(request, *args, **kwargs)
        except Problem as problem:
            response = refusal(request, problem)
        response.headers["X-Robots-Tag"] = "noindex"
        return response

    def get(self, request: HttpRequest, key: str) -> HttpResponse:
        if "thanks" in request.GET:
            return render(request, "beta/feedback_thanks.html", frame(request, intake.programme_of(key)))
        programme = intake.open_programme(key)
        given = {name: request.GET.get(parameter, "") for parameter, name in PREFILLED.items()}
        return form(request, programme, {"id": str(uuid4()), **given})

    def post(self, request: HttpRequest, key: str) -> HttpResponse:
        programme = intake.programme_of(key)
        intake.refuse_foreign(request)
        sent = fields_in(read_limited(request, LIMITS_OF_FORM))
        typed = {name: sent.get(name, "").replace("\r\n", "\n") for name in ("id", *FIELDS)}
        try:
            intake.refuse_closed(programme)
            intake.refuse_flood(programme, request.META.get("REMOTE_ADDR", ""))
            intake.record_public(intake.read_feedback(body_of(typed)), programme, sent)
        except Problem as problem:
            if problem.code == "programme_closed":
                return refusal(request, problem, typed["comment"])
            return again(request, programme, typed, problem)
        return HttpResponse(status=303, headers={"Location": address(request, key, thanks="1")})


def body_of(typed: Mapping[str, str]) -> dict[str, Any]:
    """As the API takes it. How grave it is is asked of bugs; where a browser can, the question goes when another is
    chosen, and leaves its answer behind.
    """
    score = typed["nps_score"]
    severity = typed["severity"] if typed["type"] == BetaFeedback.Type.BUG else ""
    return {**typed, "severity": severity, "nps_score": int(score) if score in SCORES else score or None}


# --- Answers ---------------------------------------------------------------------------------------------------------


def form(
    request: HttpRequest, programme: BetaProgramme, typed: Mapping[str, str], status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        **frame(request, programme),
        "typed": typed,
        "types": TYPES,
        "severities": SEVERITIES,
        "scores": SCORES,
        "limits": LIMITS,
        "trap": intake.HONEYPOT,
        "action": address(request, programme.public_key),
        **more,
    }
    return render(request, "beta/feedback.html", context, status=status)


def again(request: HttpRequest, programme: BetaProgramme, typed: dict[str, str], error: Problem) -> HttpResponse:
    """The form with what was typed, and what is wrong with it."""
    problem = refused(error, request)
    wrong = sentences(problem.errors)
    if problem.code == "feedback_conflict" or any(error.field == "id" for error in problem.errors):
        typed = {**typed, "id": str(uuid4())}
    whole = "" if wrong else whole_refusal(problem)
    response = form(request, programme, typed, problem.status, wrong=wrong, whole=whole, sent=True)
    return with_headers(response, problem.headers)


def refusal(request: HttpRequest, error: Problem, comment: str = "") -> HttpResponse:
    """A page that says why there is no form; what was typed into it meanwhile is there to be copied."""
    problem = refused(error, request)
    title, text = page_of(problem.code)
    context = {**frame(request, None), "heading": title, "text": text, "comment": comment}
    response = render(request, "beta/feedback_refused.html", context, status=problem.status)
    return with_headers(response, problem.headers)


def with_headers(response: HttpResponse, headers: Mapping[str, str]) -> HttpResponse:
    for name, value in headers.items():
        response.headers[name] = value
    return response


def frame(request: HttpRequest, programme: BetaProgramme | None) -> dict[str, Any]:
    """What every page here has: of what it is, and the other language."""
    return {
        "product": programme and (programme.product or programme.name),
        "programme": programme,
        "languages": [(code, name, in_language(request, code)) for code, name in settings.LANGUAGES],
        "form_url": programme and address(request, programme.public_key),
    }


# --- Languages and addresses -----------------------------------------------------------------------------------------


def language_of(request: HttpRequest) -> str:
    """The one that was chosen by the address; empty where the browser's counts."""
    language = request.GET.get("lang", "")
    return language if language in dict(settings.LANGUAGES) else ""


def in_language(request: HttpRequest, language: str) -> str:
    """This page's address in that language, with all else that its query says."""
    query = request.GET.copy()
    query["lang"] = language
    return f"?{query.urlencode()}"


def address(request: HttpRequest, key: str, **more: str) -> str:
    language = language_of(request)
    query = urlencode({**({"lang": language} if language else {}), **more})
    return reverse("feedback-page", args=[key]) + (f"?{query}" if query else "")
