"""The public page on which participants give feedback, by a programme's public key, without scripts and cookies."""

from math import ceil
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from beta import programmes
from beta.feedback import intake, origins
from beta.feedback.forms import FeedbackForm
from beta.models import BetaProgramme
from portal.api.bodies import UNREADABLE, body_stream
from portal.base.failures import Failure
from portal.base.problems import CODES
from portal.base.uploads import parse_form

# Percent-encoding makes nine bytes of a character of three: what the fields can hold must arrive.
MAX_FORM_BYTES = 1024 * 1024
MINUTE = 60
# Heading and text of the pages without a form.
REFUSALS = {
    "programme_unknown": (
        gettext_lazy("Page not found"),
        gettext_lazy("The address is wrong, or the page no longer exists."),
    ),
    "programme_closed": (
        gettext_lazy("This programme isn’t accepting feedback"),
        gettext_lazy("It hasn’t started, has ended or was closed. Ask the person who invited you."),
    ),
    "origin_not_allowed": (
        gettext_lazy("This form can’t be submitted from another site"),
        gettext_lazy("Open the feedback page itself and send the form from there."),
    ),
    "body_too_large": (gettext_lazy("This is too long"), gettext_lazy("Go back, shorten it and send it again.")),
    "length_mismatch": (gettext_lazy("The form was incomplete"), gettext_lazy("Go back and send it again.")),
}
# Fields that an application may fill in by the query of the page's address.
PREFILLED = {"participant": "participant", "page": "page", "version": "app_version"}


# No session is read, so other sites have nothing to abuse; a CSRF token would need a cookie.
@method_decorator(csrf_exempt, name="dispatch")
class FeedbackPage(View):
    """Show the form, and thank for it at `?thanks=1`. Refusals have the codes and the status of the API."""

    http_method_names = ["get", "head", "post"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if language := chosen_language(request):
            translation.activate(language)
        response = super().dispatch(request, *args, **kwargs)
        response.headers["X-Robots-Tag"] = "noindex"
        return response

    def get(self, request: HttpRequest, key: str) -> HttpResponse:
        programme = programmes.find_by_key(key)
        if programme is None:
            return refuse(request, "programme_unknown")
        if "thanks" in request.GET:
            return render(request, "beta/feedback_thanks.html", common_context(request, programme))
        if not programme.accepts_public(timezone.localdate()):
            return refuse(request, "programme_closed")
        prefilled = {name: request.GET.get(parameter, "") for parameter, name in PREFILLED.items()}
        return show_form(request, programme, FeedbackForm(initial={"id": str(uuid4()), **prefilled}))

    def post(self, request: HttpRequest, key: str) -> HttpResponse:
        programme = programmes.find_by_key(key)
        if programme is None:
            return refuse(request, "programme_unknown")
        if not origins.may_send(request, allowed=""):
            return refuse(request, "origin_not_allowed")
        try:
            form = FeedbackForm(read_form(request))
        except RequestDataTooBig:
            return refuse(request, "body_too_large")
        except UNREADABLE:
            return refuse(request, "length_mismatch")
        if not programme.accepts_public(timezone.localdate()):
            return refuse(request, "programme_closed", comment=form["comment"].value())
        wait = intake.count_attempt(programme, request.META.get("REMOTE_ADDR", ""))
        if wait is not None:
            response = show_again(request, programme, form, "too_many_requests", wait_sentence(wait))
            response.headers["Retry-After"] = str(wait)
            return response
        if not form.is_valid():
            return show_again(request, programme, form, "validation_failed")
        outcome = intake.store_public_feedback(form.payload, programme, is_robot=form.is_robot)
        if outcome == intake.CONFLICT:
            form.renew_id()
            text = _("You already sent this form with other answers. Send it again to add these.")
            return show_again(request, programme, form, "feedback_conflict", text)
        return HttpResponse(status=303, headers={"Location": page_address(request, key, thanks="1")})


def read_form(request: HttpRequest) -> dict[str, str]:
    """Raise RequestDataTooBig, or one of UNREADABLE if the connection broke."""
    is_too_large = int(request.META.get("CONTENT_LENGTH") or 0) > MAX_FORM_BYTES
    body = b"" if is_too_large else body_stream(request).read(MAX_FORM_BYTES + 1)
    if is_too_large or len(body) > MAX_FORM_BYTES:
        raise RequestDataTooBig
    return parse_form(body)


def wait_sentence(seconds: int) -> str:
    minutes = ceil(seconds / MINUTE)
    text = ngettext("Try again in a minute.", "Try again in %(count)d minutes.", minutes)
    return _("Too many submissions.") + " " + text % {"count": minutes}


# --- Answers ---------------------------------------------------------------------------------------------------------


def show_form(
    request: HttpRequest, programme: BetaProgramme, form: FeedbackForm, status: int = 200, **messages: Any
) -> HttpResponse:
    action = page_address(request, programme.public_key)
    context = common_context(request, programme) | {"form": form, "trap": intake.HONEYPOT, "action": action} | messages
    return render(request, "beta/feedback.html", context, status=status)


def show_again(
    request: HttpRequest, programme: BetaProgramme, form: FeedbackForm, code: str, message: str = ""
) -> HttpResponse:
    """Show what was typed, with a message about the whole form or, without one, the form's own errors."""
    record_refusal(request, code)
    errors = {} if message else form.field_errors()
    messages = [message] if message else form.non_field_errors()
    return show_form(request, programme, form, CODES[code].status, errors=errors, messages=messages)


def refuse(request: HttpRequest, code: str, comment: str = "") -> HttpResponse:
    """Say why there is no form. A comment that was typed meanwhile can be copied from the page."""
    record_refusal(request, code)
    heading, text = REFUSALS[code]
    context = common_context(request, None) | {"heading": heading, "text": text, "comment": comment}
    return render(request, "beta/feedback_refused.html", context, status=CODES[code].status)


def record_refusal(request: HttpRequest, code: str) -> None:
    """Leave the code for the tracking of requests."""
    request.failure = Failure(code)  # type: ignore[attr-defined]


def common_context(request: HttpRequest, programme: BetaProgramme | None) -> dict[str, Any]:
    return {
        "product": programme and (programme.product or programme.name),
        "programme": programme,
        "languages": [(code, name, address_in_language(request, code)) for code, name in settings.LANGUAGES],
        "form_url": programme and page_address(request, programme.public_key),
    }


# --- Languages and addresses -----------------------------------------------------------------------------------------


def chosen_language(request: HttpRequest) -> str:
    """Return the language that the address asks for; empty to follow the browser."""
    language = request.GET.get("lang", "")
    return language if language in dict(settings.LANGUAGES) else ""


def address_in_language(request: HttpRequest, language: str) -> str:
    query = request.GET.copy()
    query["lang"] = language
    return f"?{query.urlencode()}"


def page_address(request: HttpRequest, key: str, **query: str) -> str:
    language = chosen_language(request)
    encoded = urlencode({**({"lang": language} if language else {}), **query})
    return reverse("feedback-page", args=[key]) + (f"?{encoded}" if encoded else "")
