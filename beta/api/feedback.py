"""Feedback to a beta programme: by token, or by the programme's public key from a web form."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from vigie_client.contract import MAX_COMMENT

from beta import programmes
from beta.api.serializers import FeedbackAnswer, FeedbackSerializer
from beta.feedback import intake, origins
from beta.feedback.reading import read_feedback
from beta.models import BetaProgramme
from portal.api.bodies import Limits, read_json_object
from portal.api.views import HotView, Kind, refuse_but_post
from portal.base.problems import Problem, invalid_field
from portal.models import ApiToken

Answer = tuple[int, dict[str, Any]]
BY_TOKEN_OR_KEY: Any = [{"token": []}, {}]
KEY = OpenApiParameter("key", str, description="A programme's public key, in place of a token.")
# Anybody may have a public key: a body may not inflate, and has few more values than a comment may have commas.
MAX_BYTES_BY_KEY = 512 * 1024
LIMITS_BY_KEY = Limits(sent=MAX_BYTES_BY_KEY, inflated=MAX_BYTES_BY_KEY, values=MAX_COMMENT + 20_000)


class FeedbackView(HotView):
    """Feedback of a participant. Sent again it is a duplicate; with other content it conflicts."""

    kinds = frozenset({Kind.AGENT, Kind.CLIENT})
    refusals = (
        *("programme_unknown", "programme_closed", "origin_not_allowed"),
        *("feedback_conflict", "too_many_requests"),
    )

    def answer(self, request: HttpRequest) -> Answer:
        # If a token is sent, the public key is ignored.
        if "key" in request.GET and "HTTP_AUTHORIZATION" not in request.META:
            refuse_but_post(request)
            return self.post_by_key(request)
        return super().answer(request)

    @extend_schema(
        parameters=[KEY],
        request=FeedbackSerializer,
        responses={201: FeedbackAnswer, 200: FeedbackAnswer},
        auth=BY_TOKEN_OR_KEY,
    )
    def post(self, body: dict[str, Any], token: ApiToken) -> Answer:
        payload = read_feedback(body)
        try:
            day = payload.given_at and timezone.localdate(payload.given_at)
            programme = find_or_refuse(programmes.find_or_create_for_feedback, payload.programme, day)
        except Problem:
            # A repetition is a duplicate even if its programme is gone or was renamed.
            if not intake.is_stored(payload):
                raise
            return outcome_answer(body, intake.DUPLICATE)
        return outcome_answer(body, intake.store_feedback(payload, programme, token.bearer, timezone.now()))

    def post_by_key(self, request: HttpRequest) -> Answer:
        programme = programmes.find_by_key(request.GET["key"])
        if programme is None:
            raise Problem("programme_unknown")
        if not programme.accepts_public(timezone.localdate()):
            raise Problem("programme_closed")
        if not origins.may_send(request, programme.allowed_origins):
            raise Problem("origin_not_allowed")
        wait = intake.count_attempt(programme, request.META.get("REMOTE_ADDR", ""))
        if wait is not None:
            raise Problem("too_many_requests", headers={"Retry-After": str(wait)})
        body = read_json_object(request, LIMITS_BY_KEY)
        payload = read_feedback(body)
        if payload.programme not in ("", programme.name):
            raise invalid_field("programme", "other_programme", "The key is of another programme.")
        is_robot = bool(body.get(intake.HONEYPOT))
        return outcome_answer(body, intake.store_public_feedback(payload, programme, is_robot=is_robot))


def outcome_answer(body: dict[str, Any], outcome: str) -> Answer:
    if outcome == intake.CONFLICT:
        raise Problem("feedback_conflict")
    return 201 if outcome == intake.RECORDED else 200, {"status": outcome, "id": body["id"]}


def find_or_refuse(find: Callable[..., BetaProgramme], *arguments: Any) -> BetaProgramme:
    """Call a function of `programmes`, and turn its errors into a Problem."""
    try:
        return find(*arguments)
    except programmes.NoSuchProgramme:
        raise Problem("programme_unknown") from None
    except programmes.NotOneProgramme as error:
        running = "Several programmes are running" if error.count else "No programme is running"
        raise invalid_field("programme", "required", f"{running}: name the one that is meant.") from None
