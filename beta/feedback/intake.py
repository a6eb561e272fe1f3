"""Store feedback: each once, and not too much of it at a time. No address of a sender is stored with it."""

import dataclasses
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac

from beta.feedback.reading import FeedbackPayload
from beta.models import BetaFeedback, BetaProgramme, FeedbackWindow
from portal import audit
from portal.access import rate_limits
from portal.base.addresses import sender_network
from portal.base.moments import midnight

# A field of web forms that people do not see. Robots fill it in.
HONEYPOT = "website"
RECORDED, DUPLICATE, CONFLICT = "recorded", "duplicate", "conflict"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def store_feedback(payload: FeedbackPayload, programme: BetaProgramme, source: str, now: datetime) -> str:
    """Store the feedback unless its id is known. Return RECORDED, DUPLICATE, or CONFLICT if the content differs.

    The unique constraint decides: exactly one of twenty simultaneous senders records it.
    """
    row = build_feedback(payload, programme, source, now)
    if BetaFeedback.objects.insert_new([row]):
        return RECORDED
    # None: the row was deleted since the insert.
    return DUPLICATE if stored_digest(payload) in (None, "", row.digest) else CONFLICT


def build_feedback(payload: FeedbackPayload, programme: BetaProgramme, source: str, now: datetime) -> BetaFeedback:
    """Build the row, dated not before the programme's first day."""
    fields = {field.name: getattr(payload, field.name) for field in dataclasses.fields(payload)}
    fields |= {"programme": programme, "source": source, "digest": payload.digest()}
    given_at = max(payload.given_at or now, min(midnight(programme.starts), now))
    return BetaFeedback(**fields | {"given_at": given_at, "received_at": now})


def store_public_feedback(payload: FeedbackPayload, programme: BetaProgramme, *, is_robot: bool) -> str:
    """Store feedback that came by the public key. A robot's is only audited, and answered in the same way."""
    if is_robot:
        audit.record_hourly("feedback.discarded", programme.subject, request=None)
        return RECORDED
    return store_feedback(payload, programme, BetaFeedback.PUBLIC, timezone.now())


def is_stored(payload: FeedbackPayload) -> bool:
    """Return True if the same came before, even if its programme was deleted since."""
    return stored_digest(payload) in ("", payload.digest())


def stored_digest(payload: FeedbackPayload) -> str | None:
    """Return the digest stored under the payload's id; empty if an erasure has changed the content."""
    return BetaFeedback.objects.filter(feedback_id=payload.feedback_id).values_list("digest", flat=True).first()


def count_attempt(programme: BetaProgramme, address: str) -> int | None:
    """Count an attempt by the public key. Return the seconds to wait if a rate limit is exceeded.

    The address comes first, so that a flood from one address uses up only its own limit, not the key's.
    """
    windows = (
        ("address", sender_network(address), settings.FEEDBACK_PER_ADDRESS_AND_HOUR, HOUR),
        ("key", programme.public_key, settings.FEEDBACK_PER_KEY_AND_MINUTE, MINUTE),
    )
    for kind, counted, limit, length in windows:
        # The salt is older than this module, and its digests are stored.
        key = salted_hmac(f"beta.feedback.intake.{kind}", counted, algorithm="sha256").hexdigest()
        wait = rate_limits.count_within(FeedbackWindow, {"key": key}, limit, length)
        if wait is not None:
            return wait
    return None
