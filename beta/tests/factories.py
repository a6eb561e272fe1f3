"""Programmes, targets, feedback and bodies of requests for tests."""

from datetime import date, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django.utils import timezone

from beta.models import BetaFeedback, BetaProgramme
from beta.programmes import assign_target
from monitoring.models import Target
from monitoring.tests import factories
from monitoring.tests.factories import NOON

numbers = count(1)
STARTS = date(2026, 3, 2)


def create_programme(name="spring-beta", **fields):
    return BetaProgramme.objects.create(name=name, **{"starts": STARTS} | fields)


def create_target(name: str = "", beta_programme: BetaProgramme | None = None, **fields: object) -> Target:
    target: Target = factories.create_target(name, **fields)
    assign_target(target, beta_programme)
    return target


def create_feedback(programme, participant="", given_at=NOON, **fields):
    """Store feedback, by another participant each time unless one is named."""
    usual = {"feedback_id": uuid4(), "type": "other", "source": "client:editor", "received_at": given_at, "digest": "0"}
    return BetaFeedback.objects.create(
        programme=programme,
        participant=participant or f"participant-{next(numbers)}@example.org",
        given_at=given_at,
        **usual | fields,
    )


def create_scores(programme, *scores):
    """Store scores of one participant each, a minute apart."""
    return [
        create_feedback(programme, nps_score=score, given_at=NOON + timedelta(minutes=place))
        for place, score in enumerate(scores)
    ]


def get_programme(name: str = "Pilot", **fields: Any) -> BetaProgramme:
    return BetaProgramme.objects.get_or_create(name=name, defaults=fields)[0]


def create_bug(participant: str = "amy@example.org", comment: str = "It crashes", **fields: Any) -> BetaFeedback:
    """Store feedback that was given now, a bug in the programme `Pilot` by default."""
    now = timezone.now()
    given = {"type": "bug", "source": "public", "given_at": now, "received_at": now, "digest": "d1"}
    if "programme" not in fields:
        fields["programme"] = get_programme()
    return BetaFeedback.objects.create(feedback_id=uuid4(), participant=participant, comment=comment, **given | fields)


def feedback_body(**changes: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "participant": "carol@example.org", "comment": "It stops at the third."} | changes


def feedback_body_without(name: str, **changes: Any) -> dict[str, Any]:
    body = feedback_body(**changes)
    del body[name]
    return body
