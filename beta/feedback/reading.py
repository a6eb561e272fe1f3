"""Rules for feedback that was sent: a whitelist of fields, each checked and cleaned.

The limits are those of the wire contract, so that the client refuses nothing that is allowed here. No error repeats a
value.
"""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from vigie_client import contract
from vigie_client.contract import MAX_COMMENT, MAX_PAGE, MAX_PARTICIPANT, MAX_SCORE, MAX_VERSION

from portal.access.tokens.credential import TOKEN_IN_TEXT
from portal.api.payloads import Payload, PayloadReader
from portal.base.text import MOST_MARKS, limit_marks, normalize_text
from usage.clocks import SenderClock

DEFAULT_TYPE = "other"
# No limit of its own, since a body by the public key is no longer: an unknown name is refused by the look-up.
MAX_PROGRAMME = 512 * 1024
# Control characters other than tab and newline, halves of surrogate pairs, and the two others that XML cannot hold.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
REPLACEMENT = "\ufffd"
LINE_END = re.compile(r"\r\n?")


@dataclass(frozen=True)
class FeedbackPayload:
    """Valid feedback with cleaned texts; a field that was not sent is empty or None.

    `participant` is in lower case, `programme` the name as it was sent. `given_at` is corrected for the sender's clock,
    as noted in `clock`.
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
        """Return the SHA-256 of the content without its time, which a form may fill in anew for each attempt.

        Digests are stored: the names of the fields are part of them.
        """
        content = dataclasses.asdict(self) | {"feedback_id": self.feedback_id.hex}
        del content["given_at"], content["clock"]
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_feedback(body: Payload) -> FeedbackPayload:
    """Raise Problem("validation_failed") with the errors of all fields."""
    reader = PayloadReader()
    # Without the sender's clock the other times mean nothing.
    reader.timestamp(body, "sent_at")
    reader.raise_errors()
    payload = collect_feedback(reader, body)
    reader.raise_errors()
    return payload


def collect_feedback(reader: PayloadReader, body: Payload) -> FeedbackPayload:
    """Read all fields. The payload is valid if the reader has collected no errors."""
    sender_clock = SenderClock(timezone.now(), reader.timestamp(body, "sent_at"))
    given_at, clock = sender_clock.time_of(reader.timestamp(body, "given_at"))
    feedback_id = reader.uuid(body, "id")
    payload = FeedbackPayload(
        feedback_id=feedback_id or UUID(int=0),
        participant=read_participant(reader, body),
        type=reader.choice(body, "type", contract.FEEDBACK_TYPES, DEFAULT_TYPE),
        severity=reader.choice(body, "severity", contract.FEEDBACK_SEVERITIES, ""),
        nps_score=read_score(reader, body),
        comment=read_comment(reader, body),
        page=read_page(reader, body),
        app_version=clean_line(reader.text(body, "app_version", MAX_VERSION))[:MAX_VERSION],
        given_at=given_at,
        clock=clock,
        programme=reader.text(body, "programme", MAX_PROGRAMME),
    )
    require_comment_or_score(reader, payload)
    return payload


def read_participant(reader: PayloadReader, body: Payload) -> str:
    value = body.get("participant")
    name = normalize_participant(value)
    if value is None or value == "":
        reader.require("participant")
    elif not name:
        message = f"A name or an e-mail address of at most {MAX_PARTICIPANT} characters is expected."
        reader.refuse("participant", "not_a_participant", message)
    return name


def normalize_participant(value: Any) -> str:
    """Return the spelling under which a participant is stored and erased; empty if it is not allowed."""
    is_short = isinstance(value, str) and len(value) <= contract.MAX_PARTICIPANT_SENT
    return contract.participant_name(limit_marks(value, MOST_MARKS)) if is_short else ""


def read_score(reader: PayloadReader, body: Payload) -> int | None:
    value = body.get("nps_score")
    if value is None or contract.is_score(value):
        return value
    reader.refuse("nps_score", "not_a_score", f"An integer from 0 to {MAX_SCORE} is expected.")
    return None


def read_page(reader: PayloadReader, body: Payload) -> str:
    """Return the page without query and fragment, which may name anything."""
    value = body.get("page")
    page = contract.strip_query(value).strip() if isinstance(value, str) else value
    # NFC makes several characters of some.
    return clean_line(reader.text({"page": page}, "page", MAX_PAGE))[:MAX_PAGE]


def read_comment(reader: PayloadReader, body: Payload) -> str:
    comment = clean_text(reader.text(body, "comment", MAX_COMMENT))
    return comment if comment.strip() else ""


def require_comment_or_score(reader: PayloadReader, payload: FeedbackPayload) -> None:
    refused = {error.field for error in reader.errors}
    if not payload.comment and payload.nps_score is None and refused.isdisjoint({"comment", "nps_score"}):
        reader.refuse("comment", "nothing_said", "A comment or a score is expected.")


def clean_text(text: str) -> str:
    """Make a text fit for any database, format and page.

    Line ends become newlines, characters that XML cannot hold U+FFFD, and tokens lose their secret. The result is in
    NFC, the form in which names are searched for when somebody is erased. Raises TextTooLong.
    """
    text = UNPRINTABLE.sub(REPLACEMENT, normalize_text(LINE_END.sub("\n", text), longest=MAX_COMMENT))
    return TOKEN_IN_TEXT.sub(r"\1_…", text)


def clean_line(text: str) -> str:
    return " ".join(clean_text(text).split())
