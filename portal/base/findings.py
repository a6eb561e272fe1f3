"""Findings: what needs an operator's attention, and where one click leads to acting on it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import IntegerChoices, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.base.conventions import Collected
from portal.base.text import shorten_with_hash
from portal.base.words import format_count

# What a key may have so that it fits into its column, and into the audit log after `finding:`.
LONGEST_KEY = 192
# Findings of one kind that are shown one by one; the list behind the last one shows the rest.
SHOWN = 5
Row = TypeVar("Row")


class Severity(IntegerChoices):
    """The severity of findings and messages."""

    CRITICAL = 1, gettext_lazy("critical")
    WARNING = 2, gettext_lazy("warning")
    INFO = 3, gettext_lazy("info")


@dataclass(frozen=True)
class Finding:
    """Something that needs attention: `text` says it in one sentence, `url` and `action` lead to where to fix it.

    With a `permission`, `url` is called by POST and fixes it: only users with that permission get the button.
    A `key`, such as `backups.job:17`, stays the same while the finding lasts. A finding with a key can be acknowledged.
    The acknowledgement lapses if the finding began after it: by `since`, or by `renewed_at`, the time of the newest of
    several causes. A finding without `since` gets no key. The landing page sets `acknowledgement`.
    """

    severity: Severity
    text: str
    since: datetime | None = None
    url: str = ""
    action: str = ""
    permission: str = ""
    key: str = ""
    acknowledgement: Any = None
    renewed_at: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", shorten_with_hash(self.key, LONGEST_KEY) if self.since else "")


FindingSource = Callable[[datetime], Iterable[Finding]]
finding_sources: Collected[FindingSource] = Collected("findings")


def split_shown(rows: QuerySet[Any, Row]) -> tuple[list[Row], bool]:
    """Return the first SHOWN rows, which get a finding each, and True if there are others, which share one."""
    first = list(rows[: SHOWN + 1])
    return first[:SHOWN], len(first) > SHOWN


def count_finding(
    severity: Severity,
    text: str,
    count: int,
    since: datetime | None = None,
    url: str = "",
    action: str = "",
    **words: object,
) -> Finding:
    """Return the finding about as many rows as `%(count)s` in the text says."""
    return Finding(severity, text % {"count": format_count(count), **words}, since, url, action or _("View"))


def admin_url(name: str, query: dict[str, str], *args: Any) -> str:
    """Return the path of an admin page, or an empty string if the page is not registered."""
    try:
        return reverse(f"admin:{name}", args=args, query=query)
    except NoReverseMatch:
        return ""
