"""Programmes and what participants said in them, as the tests of reports need them."""

from datetime import date, timedelta
from itertools import count
from uuid import uuid4

from beta.models import BetaFeedback, BetaProgramme
from beta.programmes import assign_target
from monitoring.models import Target
from monitoring.tests import rolled
from monitoring.tests.rolled import NOON

numbers = count(1)
STARTS = date(2026, 3, 2)


def a_programme(name="spring-beta", **fields):
    return BetaProgramme.objects.create(name=name, **{"starts": STARTS} | fields)


def a_target(name: str = "", beta_programme: BetaProgramme | None = None, **fields: object) -> Target:
    target: Target = rolled.a_target(name, **fields)
    assign_target(target, beta_programme)
    return target


def said(programme, participant="", given_at=NOON, **fields):
    """By somebody else each time, unless told otherwise; about nothing in particular."""
    usual = {"feedback_id": uuid4(), "type": "other", "source": "client:editor", "received_at": given_at, "digest": "0"}
    return BetaFeedback.objects.create(
        programme=programme,
        participant=participant or f"participant-{next(numbers)}@example.org",
        given_at=given_at,
        **usual | fields,
    )


def scored(programme, *scores):
    """One participant each, a minute apart."""
    return [
        said(programme, nps_score=score, given_at=NOON + timedelta(minutes=place)) for place, score in enumerate(scores)
    ]
