"""What a caller has to say."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

from django.conf import settings
from django.utils import translation

from portal.base.severity import Severity
from portal.models import OutboxMessage

State = OutboxMessage.State
SUBJECT_LENGTH = KEY_LENGTH = 200
TITLE_LENGTH = 300
# More than any channel shows, and little enough to be kept for each recipient.
TEXT_LENGTH, HTML_LENGTH = 20_000, 200_000


@dataclass(frozen=True)
class Notice:
    """Something to tell, in texts built inside `in_our_language()`.

    Messages of one `subject` ("backup:7") keep their order. The same `dedupe_key` is told once per recipient, as long
    as the first message is kept. What closes something should be as severe as what opened it, or a channel that tells
    of the worst alone never says that it is over. `path` is an address within the portal, "/admin/…".

    With `channel`, the key of one, it goes there and nowhere else. `html` says the same for readers of mail: such a
    message is always sent by itself.
    """

    subject: str
    severity: Severity
    title: str
    text: str
    dedupe_key: str
    state: State = State.NOTE
    path: str = ""
    channel: str = ""
    html: str = ""

    def __post_init__(self) -> None:
        if self.path and (not self.path.startswith("/") or self.path.startswith("//")):
            raise ValueError("the path of a notice begins with a slash, and with one alone")
        if not (self.subject and self.title and self.dedupe_key):
            raise ValueError("a notice has a subject, a title and a dedupe key")

    def fields(self) -> dict[str, object]:
        """The fields of its message, such as every database takes: a text too long must not undo what it tells of."""
        return {
            "subject": shorten_with_hash(storable(self.subject), SUBJECT_LENGTH),
            "severity": self.severity,
            "state": self.state,
            "title": " ".join(storable(self.title).split())[:TITLE_LENGTH],
            "text": storable(self.text)[:TEXT_LENGTH],
            "html": storable(self.html) if len(self.html) <= HTML_LENGTH else "",
            "path": storable(self.path) if len(self.path) <= 500 else "",
            "dedupe_key": shorten_with_hash(storable(self.dedupe_key), KEY_LENGTH),
        }


def storable(text: str) -> str:
    """Without what PostgreSQL refuses: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def shorten_with_hash(text: str, length: int) -> str:
    """The text where it fits, else its beginning and a hash of all of it."""
    if len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{text[: length - len(digest) - 1]}#{digest}"


def in_portal_language() -> AbstractContextManager[None]:
    """The language of what the portal sends, whatever that of the request or task is."""
    return translation.override(settings.LANGUAGE_CODE)
