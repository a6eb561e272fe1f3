"""Notices: what callers of `notify` report."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from django.conf import settings
from django.utils import translation

from portal.base.findings import Severity
from portal.base.text import shorten_with_hash
from portal.models import OutboxMessage

State = OutboxMessage.State
SUBJECT_LENGTH = KEY_LENGTH = 200
TITLE_LENGTH = 300
# More than any channel shows, and little enough to store for each recipient.
TEXT_LENGTH, HTML_LENGTH = 20_000, 200_000


@dataclass(frozen=True)
class Notice:
    """Something to report, in texts built inside `in_portal_language()`.

    Messages of one `subject` ("backup:7") keep their order. Each recipient gets a `dedupe_key` once, as long as the
    first message is kept. A closing notice needs the severity of the opening one, or channels for critical messages
    never report the recovery. `path` is a path of the portal, "/admin/…".

    `channel` is the key of the only channel to use; empty means all. `html` is the same content for mail; such a
    message is never merged with others.
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
        """Return the message's fields, shortened so that no database error undoes the reported change."""
        return {
            "subject": shorten_with_hash(remove_unstorable(self.subject), SUBJECT_LENGTH),
            "severity": self.severity,
            "state": self.state,
            "title": " ".join(remove_unstorable(self.title).split())[:TITLE_LENGTH],
            "text": remove_unstorable(self.text)[:TEXT_LENGTH],
            "html": remove_unstorable(self.html) if len(self.html) <= HTML_LENGTH else "",
            "path": remove_unstorable(self.path) if len(self.path) <= 500 else "",
            "dedupe_key": shorten_with_hash(remove_unstorable(self.dedupe_key), KEY_LENGTH),
        }


def remove_unstorable(text: str) -> str:
    """Remove what PostgreSQL refuses: NUL and unpaired surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def in_portal_language() -> AbstractContextManager[None]:
    """Return a context in which texts are in the portal's language instead of the request's."""
    return translation.override(settings.LANGUAGE_CODE)
