"""Feedback for tests."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.utils import timezone

from beta.models import BetaFeedback, BetaProgramme


def programme_of(name: str = "Pilot", **fields: Any) -> BetaProgramme:
    return BetaProgramme.objects.get_or_create(name=name, defaults=fields)[0]


def told(participant: str = "amy@example.org", comment: str = "It crashes", **fields: Any) -> BetaFeedback:
    """What a participant of the pilot says now, a bug unless told otherwise."""
    now = timezone.now()
    given = {"type": "bug", "source": "public", "given_at": now, "received_at": now, "digest": "d1"}
    if "programme" not in fields:
        fields["programme"] = programme_of()
    return BetaFeedback.objects.create(feedback_id=uuid4(), participant=participant, comment=comment, **given | fields)
