"""Check and cut feedback as the portal would: it takes nothing that the portal would refuse."""

from __future__ import annotations

import json
from typing import Any, Optional

from vigie_client.contract import (
    FEEDBACK_SEVERITIES,
    FEEDBACK_TYPES,
    MAX_BODY,
    MAX_COMMENT,
    MAX_PAGE,
    MAX_VERSION,
    is_score,
    participant_name,
    strip_query,
)
from vigie_client.report.payload_rules import convert_text

# JSON bytes of a comment, which leaves room for the other fields.
_MAX_COMMENT_BYTES = MAX_BODY - 134 * 1024
_LONGEST_ESCAPE = len(json.dumps("😀")) - len('""')


def refusal_reason(participant: Any, kind: Any, severity: Any, nps_score: Any, comment: Any) -> Optional[str]:
    """Say why the portal would refuse this feedback, without repeating a value; None if it would not."""
    if not participant_name(participant):
        return "no participant"
    if kind not in (*FEEDBACK_TYPES, "", None):
        return "no such type"
    if severity not in (*FEEDBACK_SEVERITIES, "", None):
        return "no such severity"
    if nps_score is not None and not is_score(nps_score):
        return "no such score"
    if comment is not None and not isinstance(comment, str):
        return "the comment is no text"
    is_empty = nps_score is None and not (isinstance(comment, str) and comment.strip())
    return "neither score nor comment" if is_empty else None


def cut_comment(value: Any) -> str:
    """Cut a comment to the length that fits one call as JSON."""
    comment = value[:MAX_COMMENT] if isinstance(value, str) else ""
    if len(json.dumps(comment)) <= _MAX_COMMENT_BYTES:
        return comment
    return comment[: _MAX_COMMENT_BYTES // _LONGEST_ESCAPE]


def reduce_page(value: Any) -> str:
    return strip_query(value).strip()[:MAX_PAGE] if isinstance(value, str) else ""


def cut_version(value: Any) -> str:
    return convert_text(value)[:MAX_VERSION]
