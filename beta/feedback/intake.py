"""Feedback as it comes in: a whitelist, every value checked by hand, each kept once, and no flood of it.

Nobody's address is kept with it. What is wrong with it is told without repeating a value.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from vigie_client import contract
from vigie_client.contract import MAX_COMMENT, MAX_PAGE, MAX_PARTICIPANT, MAX_PARTICIPANT_SENT, MAX_VERSION

from beta import programmes
from beta.feedback import origins
from beta.models import BEST_SCORE, BetaFeedback, BetaProgramme, FeedbackWindow
from portal import audit
from portal.access import rate_limits
from portal.access.tokens.credential import TOKEN_IN_TEXT
from portal.api.bodies import Limits
from portal.api.payloads import Payload, PayloadReader
from portal.base.addresses import network_of
from portal.base.problems import Problem
from portal.base.text import normalized
from portal.privacy.subjects import strip_format_characters
from usage.clocks import SenderClock
from usage.consumption import midnight

HONEYPOT = "website"
# Whoever has a public key may be anybody: a body is no larger inflated than as sent, and has few more values than a
# comment may have commas.
MOST_SENT_BY_KEY = 512 * 1024
BY_KEY = Limits(sent=MOST_SENT_BY_KEY, inflated=MOST_SENT_BY_KEY, values=MAX_COMMENT + 20_000)
RECORDED, DUPLICATE = "recorded", "duplicate"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# Control characters but tab and newline, halves of surrogate pairs, and the two others that XML cannot hold.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
REPLACEMENT = "\ufffd"
LINE_END = re.compile(r"\r\n?")
# What tokens are called in the column `source`, and nobody is who speaks for himself.
MACHINE_LIKE = re.compile(contract.MACHINE_LIKE)


@dataclass(frozen=True)
class Told:
    """Valid feedback, its texts cleaned. `participant` is in lower case; what was not said is empty or None.

    `programme` is the name as it was sent. `given_at` is corrected for the sender's clock, of which `clock` tells.
    """

    feedback_id: UUID
    participant: str
    type: str
    severity: str
    nps_score: int | None
    comment: str
    page: str
    app_version: str
    given_at: datetime | None
    clock: str
    programme: str

    def digest(self) -> str:
        """SHA-256 of the canonical form. The time is not part of it: a form may fill it in anew for each try."""
        content = dataclasses.asdict(self) | {"feedback_id": self.feedback_id.hex}
        del content["given_at"], content["clock"]
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# --- What is said ----------------------------------------------------------------------------------------------------


def cleaned(text: str) -> str:
    """Make the text fit for any database, format and page: newlines as line ends, no token, U+FFFD for no character.

    NFC is the spelling in which a name is looked for when somebody is erased. Raises TextTooLong.
    """
    text = UNPRINTABLE.sub(REPLACEMENT, normalized(LINE_END.sub("\n", text), longest=MAX_COMMENT))
    return TOKEN_IN_TEXT.sub(r"\1_…", text)


def in_one_line(text: str) -> str:
    return " ".join(cleaned(text).split())


def read_participant(reader: PayloadReader, body: Payload) -> str:
    """Return a name or an address, normalized so that each participant counts once."""
    value = body.get("participant")
    if value is None or value == "":
        reader.require("participant")
        return ""
    text = name_in(value) if isinstance(value, str) else ""
    if not 0 < len(text) <= MAX_PARTICIPANT or REPLACEMENT in text or is_somebody_else(strip_format_characters(value)):
        message = f"A name or an e-mail address of at most {MAX_PARTICIPANT} characters is expected."
        reader.refuse("participant", "not_a_participant", message)
        return ""
    return text


def read_score(reader: PayloadReader, body: Payload) -> int | None:
    value = body.get("nps_score")
    # `type is int` and not isinstance: True is an int to Python.
    if value is None or (type(value) is int and 0 <= value <= BEST_SCORE):
        return value
    reader.refuse("nps_score", "not_a_score", f"An integer from 0 to {BEST_SCORE} is expected.")
    return None


def read_page(reader: PayloadReader, body: Payload) -> str:
    """Return the page without query and fragment, which may name anything."""
    value = body.get("page")
    page = re.split(r"[?#]", value, maxsplit=1)[0].strip() if isinstance(value, str) else value
    # Some characters are several in NFC.
    return in_one_line(reader.text({"page": page}, "page", MAX_PAGE))[:MAX_PAGE]


def read_version(reader: PayloadReader, body: Payload) -> str:
    return in_one_line(reader.text(body, "app_version", MAX_VERSION))[:MAX_VERSION]


def read_comment(reader: PayloadReader, body: Payload) -> str:
    comment = cleaned(reader.text(body, "comment", MAX_COMMENT))
    return comment if comment.strip() else ""


def require_comment_or_score(reader: PayloadReader, comment: str, score: int | None) -> None:
    refused = {error.field for error in reader.errors}
    if not comment and score is None and refused.isdisjoint({"comment", "nps_score"}):
        reader.refuse("comment", "nothing_said", "A comment or a score is expected.")


def name_in(sent: str) -> str:
    """The name in its one spelling; empty where far more was sent than a name has."""
    if len(sent) > MAX_PARTICIPANT_SENT:
        return ""
    text = in_one_line(strip_format_characters(sent)).lower()
    return normalized(text, longest=len(text))


def is_somebody_else(value: str) -> bool:
    return bool(TOKEN_IN_TEXT.search(value) or MACHINE_LIKE.match(value.strip()))


def read_feedback(body: Payload) -> Told:
    """Read and check what was sent. Raises Problem: validation_failed with the errors of all fields."""
    reader = PayloadReader()
    sender_clock = SenderClock(timezone.now(), reader.timestamp(body, "sent_at"))
    reader.raise_errors()
    given_at, clock = sender_clock.time_of(reader.timestamp(body, "given_at"))
    fields: dict[str, Any] = {
        "feedback_id": reader.uuid(body, "id"),
        "participant": read_participant(reader, body),
        "type": reader.choice(body, "type", BetaFeedback.Type.values, BetaFeedback.Type.OTHER.value),
        "severity": reader.choice(body, "severity", BetaFeedback.Severity.values, ""),
        "nps_score": read_score(reader, body),
        "comment": read_comment(reader, body),
        "page": read_page(reader, body),
        "app_version": read_version(reader, body),
        "given_at": given_at,
        "clock": clock,
        "programme": reader.text(body, "programme", MOST_SENT_BY_KEY),
    }
    require_comment_or_score(reader, fields["comment"], fields["nps_score"])
    reader.raise_errors()
    return Told(**fields)


def is_trap(body: Mapping[str, Any]) -> bool:
    """Whether the field that no person sees is filled in."""
    return bool(body.get(HONEYPOT))


# --- What is kept ----------------------------------------------------------------------------------------------------


def record(told: Told, programme: BetaProgramme, source: str, now: datetime) -> str:
    """`recorded` or `duplicate`. Raises Problem("feedback_conflict") where its id is known with other content.

    The unique constraint decides, so of twenty simultaneous senders exactly one records it.
    """
    fields = {field.name: getattr(told, field.name) for field in dataclasses.fields(told)}
    fields |= {"programme": programme, "source": source, "digest": told.digest()}
    row = BetaFeedback(**fields | {"given_at": given_at_in(programme, told, now), "received_at": now})
    if BetaFeedback.objects.insert_new([row]):
        return RECORDED
    # What was deleted since had come, too.
    if known_digest(told) not in (None, "", row.digest):
        raise Problem("feedback_conflict")
    return DUPLICATE


def record_public(told: Told, programme: BetaProgramme, sent: Mapping[str, Any]) -> str:
    """As `record`, of what came by the public key. Whoever fell into the trap is answered as others are, and no word is
    kept of who it was.
    """
    if is_trap(sent):
        audit.hourly("feedback.discarded", programme.subject, request=None)
        return RECORDED
    return record(told, programme, BetaFeedback.PUBLIC, timezone.now())


def given_at_in(programme: BetaProgramme, told: Told, now: datetime) -> datetime:
    """When it was given, not before the programme's first day."""
    return max(told.given_at or now, min(midnight(programme.starts), now))


def is_known(told: Told) -> bool:
    """Whether just this came before, whatever has become of its programme."""
    return known_digest(told) in ("", told.digest())


def known_digest(told: Told) -> str | None:
    """Of what came under its id; empty where somebody was erased, so that there is nothing to compare with."""
    return BetaFeedback.objects.filter(feedback_id=told.feedback_id).values_list("digest", flat=True).first()


# --- Whom it comes from ----------------------------------------------------------------------------------------------


def open_programme(key: str) -> BetaProgramme:
    """The programme that takes feedback by this public key today. Raises Problem."""
    programme = programme_of(key)
    refuse_closed(programme)
    return programme


def programme_of(key: str) -> BetaProgramme:
    """The programme that has this public key. Raises Problem."""
    try:
        return programmes.of_key(key)
    except programmes.NoSuchProgramme:
        raise Problem("programme_unknown") from None


def refuse_closed(programme: BetaProgramme) -> None:
    """Raises Problem where it takes nothing by its public key today."""
    if not programme.takes_public or not programme.is_running(timezone.localdate()):
        raise Problem("programme_closed")


def refuse_foreign(request: HttpRequest, allowed: str = "") -> None:
    """Raises Problem where a page sends it that is neither of the origins `allowed` lists nor the portal's own."""
    if not origins.may_send(request, allowed):
        raise Problem("origin_not_allowed")


def refuse_flood(programme: BetaProgramme, address: str) -> None:
    """Counts one try. Raises Problem("too_many_requests") where there were too many.

    The address first: what one sends beyond its own limit uses up nothing of what the key allows to all.
    """
    windows = (
        ("address", network_of(address), settings.FEEDBACK_PER_ADDRESS_AND_HOUR, HOUR),
        ("key", programme.public_key, settings.FEEDBACK_PER_KEY_AND_MINUTE, MINUTE),
    )
    for kind, of, limit, length in windows:
        key = salted_hmac(f"beta.feedback.intake.{kind}", of, algorithm="sha256").hexdigest()
        wait = rate_limits.counted(FeedbackWindow, {"key": key}, limit, length)
        if wait is not None:
            raise Problem("too_many_requests", headers={"Retry-After": str(wait)})
