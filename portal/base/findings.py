"""Findings: what needs an operator's attention, and where one click leads to acting on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import NoReverseMatch, reverse

from portal.base.conventions import Collected
from portal.base.severity import Severity


@dataclass(frozen=True)
class Finding:
    """Something that needs attention: `text` says it in one sentence, `url` and `action` lead to where to fix it.

    With a `permission`, `url` is called by POST and fixes it: only users with that permission get the button.
    """

    severity: Severity
    text: str
    since: datetime | None = None
    url: str = ""
    action: str = ""
    permission: str = ""


FindingSource = Callable[[datetime], Iterable[Finding]]
finding_sources: Collected[FindingSource] = Collected("findings")


def admin_url(name: str, query: dict[str, str], *args: Any) -> str:
    """Return the path of an admin page, or an empty string if the page is not registered."""
    try:
        return reverse(f"admin:{name}", args=args, query=query)
    except NoReverseMatch:
        return ""
