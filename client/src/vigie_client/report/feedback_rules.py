"""What the portal takes of feedback: what it would refuse isn't taken here either, and what is too long is cut."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Optional

from vigie_client import contract
from vigie_client.contract import (
    MAX_BODY,
    MAX_COMMENT,
    MAX_PAGE,
    MAX_PARTICIPANT,
    MAX_PARTICIPANT_SENT,
    MAX_SCORE,
    MAX_VERSION,
)
from vigie_client.report.activity_rules import TOKEN
from vigie_client.report.payload_rules import text_of

# The rest of the body has room beside it.
_LARGEST_COMMENT = MAX_BODY - 134 * 1024
TYPES = ("bug", "ux", "feature", "other")
SEVERITIES = ("critical", "high", "medium", "low")
# Control characters, halves of surrogate pairs, and what XML cannot hold; line ends and tabs count as spaces.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd-\uffff]")
# What tokens are called, and nobody is who speaks for himself.
_MACHINE_LIKE = re.compile(contract.MACHINE_LIKE)
_LONGEST_ESCAPE = len(json.dumps("😀")) - len('""')


def why_refused(participant: Any, kind: Any, severity: Any, nps_score: Any, comment: Any) -> Optional[str]:
    """In words that repeat no value; None where nothing is in the way."""
    if not participant_text(participant):
        return "no participant"
    if kind not in (*TYPES, "", None):
        return "no such type"
    if severity not in (*SEVERITIES, "", None):
        return "no such severity"
    if nps_score is not None and not _is_score(nps_score):
        return "no such score"
    if comment is not None and not isinstance(comment, str):
        return "the comment is no text"
    said_nothing = nps_score is None and not (isinstance(comment, str) and comment.strip())
    return "neither score nor comment" if said_nothing else None


def participant_text(value: Any) -> str:
    """In the one spelling that the portal keeps; empty for what it takes for nobody."""
    if not isinstance(value, str) or len(value) > MAX_PARTICIPANT_SENT:
        return ""
    value = _visible(value)
    if _UNPRINTABLE.search(value) or TOKEN.search(value):
        return ""
    text = contract.normalized(" ".join(value.split()).lower())
    return text if len(text) <= MAX_PARTICIPANT and not _MACHINE_LIKE.match(text) else ""


def _visible(text: str) -> str:
    """Without what only tells how to show it: two names that look the same are to be the same."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def comment_text(value: Any) -> str:
    """In JSON never more than one call may carry."""
    comment = value[:MAX_COMMENT] if isinstance(value, str) else ""
    return comment if len(json.dumps(comment)) <= _LARGEST_COMMENT else comment[: _LARGEST_COMMENT // _LONGEST_ESCAPE]


def page_text(value: Any) -> str:
    """Without query and fragment, which may name anything."""
    return re.split(r"[?#]", value, maxsplit=1)[0].strip()[:MAX_PAGE] if isinstance(value, str) else ""


def version_text(value: Any) -> str:
    return text_of(value)[:MAX_VERSION]


def _is_score(value: Any) -> bool:
    """A bool is no score, nor is 7.0."""
    return type(value) is int and 0 <= value <= MAX_SCORE
