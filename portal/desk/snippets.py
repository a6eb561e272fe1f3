"""Snippets: scripts for a token just issued. An app's `snippets.py` registers those for its kinds of token."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portal.base.conventions import Collected


@dataclass(frozen=True)
class Snippet:
    """A script to copy. It never contains the token, which would then be in every copy."""

    title: str
    file_name: str
    text: str


@dataclass(frozen=True)
class Guide:
    title: Any
    text: Any
    snippets: list[Snippet]


GuideSource = Callable[[str], Guide | None]
guide_sources: Collected[GuideSource] = Collected("snippets")


def guides_for(kind: str) -> list[Guide]:
    """Return the guides for this kind of token."""
    return [guide for source in guide_sources.all() if (guide := source(kind)) is not None]
