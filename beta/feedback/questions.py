"""What the page for feedback asks, and how it says what is wrong with an answer."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from vigie_client import contract

from beta.models import BEST_SCORE, BetaFeedback
from portal.base.problems import FieldError, Problem

TYPES = (
    (BetaFeedback.Type.BUG.value, gettext_lazy("Something does not work")),
    (BetaFeedback.Type.UX.value, gettext_lazy("Something is hard to use")),
    (BetaFeedback.Type.FEATURE.value, gettext_lazy("Something is missing")),
    (BetaFeedback.Type.OTHER.value, gettext_lazy("Something else")),
)
SEVERITIES = (
    (BetaFeedback.Severity.CRITICAL.value, gettext_lazy("I cannot work at all, or lost something")),
    (BetaFeedback.Severity.HIGH.value, gettext_lazy("It keeps me from something I need")),
    (BetaFeedback.Severity.MEDIUM.value, gettext_lazy("There is another way to do it")),
    (BetaFeedback.Severity.LOW.value, gettext_lazy("It is a blemish")),
)
SCORES = tuple(str(score) for score in range(BEST_SCORE + 1))
LIMITS = {
    "participant": contract.MAX_PARTICIPANT,
    "comment": contract.MAX_COMMENT,
    "page": contract.MAX_PAGE,
    "app_version": contract.MAX_VERSION,
}
FIELDS = ("type", "severity", "comment", "nps_score", "participant", "page", "app_version")
MINUTE = 60


def sentences(errors: Iterable[FieldError]) -> dict[str, str]:
    """What is wrong by field, in the order in which the fields stand on the page."""
    said = {error.field: sentence(error) for error in errors}
    return {field: said[field] for field in FIELDS if field in said}


def sentence(error: FieldError) -> str:
    match error.code:
        case "nothing_said":
            return _("Write something, or choose a number.")
        case "too_long":
            return _("This is too long: %(count)d characters fit.") % {"count": LIMITS[error.field]}
        case "required":
            return _("Say who you are.")
        case "not_a_participant":
            text = _("Give the name or the e-mail address of a person, of at most %(count)d characters.")
            return text % {"count": LIMITS["participant"]}
        case _:
            return _("Choose one of the answers.")


def whole_refusal(problem: Problem) -> str:
    """Why all of it was refused."""
    match problem.code:
        case "too_many_requests":
            return _("Too much came at once.") + " " + when(int(problem.headers["Retry-After"]))
        case "feedback_conflict":
            return _("This form was sent before with other answers, and those were kept. Send it again to add these.")
        case _:
            return _("The form was damaged on its way. Send it again.")


def when(seconds: int) -> str:
    minutes = ceil(seconds / MINUTE)
    text = ngettext("Send it again in a minute.", "Send it again in %(count)d minutes.", minutes)
    return text % {"count": minutes}


def page_of(code: str) -> tuple[str, str]:
    """Heading and text of the page that stands in the form's place."""
    match code:
        case "programme_unknown":
            return _("There is nothing here"), _("The address is wrong, or what stood here is gone.")
        case "programme_closed":
            return (
                _("This programme is not taking feedback"),
                _("It has not begun, is over, or was closed. Whoever invited you can say more."),
            )
        case "origin_not_allowed":
            return _("This was not sent from here"), _("Open this page itself, and send it from there.")
        case "body_too_large":
            return _("This is too long"), _("Go back, shorten it, and send it again.")
        case _:
            return _("This did not arrive whole"), _("Go back and send it again.")
