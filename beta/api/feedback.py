"""Feedback to a beta programme: by token, or by the programme's public key from a form of the web."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema

from beta import programmes
from beta.api.serializers import FeedbackAnswer, FeedbackSerializer
from beta.feedback import intake
from beta.models import BetaProgramme
from portal.api.bodies import read_json_object
from portal.api.views import HotView, Kind, refuse_but_post
from portal.base.problems import Problem, invalid
from portal.models import ApiToken

Answer = tuple[int, dict[str, Any]]
BY_TOKEN_OR_KEY: Any = [{"token": []}, {}]
KEY = OpenApiParameter("key", str, description="A programme's public key, in place of a token.")


class FeedbackView(HotView):
    """What a participant said. Sent again it is a duplicate; with other content it conflicts."""

    kinds = frozenset({Kind.AGENT, Kind.CLIENT})
    refusals = (
        *("programme_unknown", "programme_closed", "origin_not_allowed"),
        *("feedback_conflict", "too_many_requests"),
    )

    def answer(self, request: HttpRequest) -> Answer:
        # Whoever shows something like a token is judged by it alone.
        if "key" in request.GET and "HTTP_AUTHORIZATION" not in request.META:
            refuse_but_post(request)
            return self.by_key(request)
        return super().answer(request)

    @extend_schema(
        parameters=[KEY],
        request=FeedbackSerializer,
        responses={201: FeedbackAnswer, 200: FeedbackAnswer},
        auth=BY_TOKEN_OR_KEY,
    )
    def post(self, body: dict[str, Any], token: ApiToken) -> Answer:
        told = intake.read_feedback(body)
        try:
            programme = programme_of(told)
        except Problem:
            if not intake.is_known(told):
                raise
            return answer_of(body, intake.DUPLICATE)
        return answer_of(body, intake.record(told, programme, token.bearer, timezone.now()))

    def by_key(self, request: HttpRequest) -> Answer:
        programme = intake.open_programme(request.GET["key"])
        intake.refuse_foreign(request, programme.allowed_origins)
        intake.refuse_flood(programme, request.META.get("REMOTE_ADDR", ""))
        body = read_json_object(request, intake.BY_KEY)
        told = intake.read_feedback(body)
        if told.programme not in ("", programme.name):
            raise invalid("programme", "other_programme", "The key is of another programme.")
        return answer_of(body, intake.record_public(told, programme, body))


def answer_of(body: dict[str, Any], status: str) -> Answer:
    return 201 if status == intake.RECORDED else 200, {"status": status, "id": body["id"]}


def programme_of(told: intake.Told) -> BetaProgramme:
    """The one that is named, or the only one that ran when it was said. Raises Problem."""
    day = told.given_at and timezone.localdate(told.given_at)
    return found_by(lambda name: programmes.for_feedback(name, day), told.programme)


def found_by(find: Callable[[str], BetaProgramme], name: str) -> BetaProgramme:
    """What `programmes` finds. Raises Problem."""
    try:
        return find(name)
    except programmes.NoSuchProgramme:
        raise Problem("programme_unknown") from None
    except programmes.NotOneProgramme as error:
        running = "Several programmes are running" if error.count else "No programme is running"
        raise invalid("programme", "required", f"{running}: name the one that is meant.") from None
