"""What the portal takes of feedback: what it would refuse isn't taken here either, and what is too long is cut."""

from __future__ import annotations

import json
import re
from typing import Any, Optional

from .spool_store import BATCH_BYTES

LONGEST_PARTICIPANT, LONGEST_COMMENT, LONGEST_PAGE, LONGEST_VERSION = 254, 100_000, 200, 64
BEST_SCORE = 10
TYPES = ("bug", "ux", "feature", "other")
SEVERITIES = ("critical", "high", "medium", "low")
_LONGEST_ESCAPE = len(json.dumps("😀")) - len('""')


def why_refused(participant: Any, kind: Any, severity: Any, nps_score: Any, comment: Any) -> Optional[str]:
    """In words that repeat no value; None where nothing is in the way."""
    if not isinstance(participant, str) or not 0 < len(participant.strip()) <= LONGEST_PARTICIPANT:
        return "no participant"
    if kind not in TYPES:
        return "no such type"
    if severity is not None and severity not in SEVERITIES:
        return "no such severity"
    if nps_score is not None and not _is_score(nps_score):
        return "no such score"
    said_nothing = nps_score is None and not (isinstance(comment, str) and comment.strip())
    return "neither score nor comment" if said_nothing else None


def comment_text(value: Any) -> str:
    """In JSON never more than one call may carry."""
    comment = value[:LONGEST_COMMENT] if isinstance(value, str) else ""
    most = BATCH_BYTES - 10 * 1024  # the rest of a body
    return comment if len(json.dumps(comment)) <= most else comment[: most // _LONGEST_ESCAPE]


def page_text(value: Any) -> str:
    """Without query and fragment, which may name anything."""
    return re.split(r"[?#]", value, maxsplit=1)[0].strip()[:LONGEST_PAGE] if isinstance(value, str) else ""


def version_text(value: Any) -> str:
    return value.strip()[:LONGEST_VERSION] if isinstance(value, str) else ""


def _is_score(value: Any) -> bool:
    """A bool is no score, nor is 7.0."""
    return type(value) is int and 0 <= value <= BEST_SCORE
