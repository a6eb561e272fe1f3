"""Where runs go that the portal will never take: kept for a person to look at, out of the way of the others."""

from __future__ import annotations

import json
from typing import Any, Optional

from .outcomes import Outcome
from .spool_lines import append_line, read_lines, rewrite, size_of


def quarantine(path: str, body: bytes, outcome: Outcome, at: float, *, most_bytes: int) -> None:
    """Add a spool's line to the quarantine at `path`, with why and when (Unix time).

    At `most_bytes` the older half goes.
    """
    if size_of(path) + len(body) > most_bytes:
        lines = list(read_lines(path))
        rewrite(path, lines[(len(lines) + 1) // 2 :])
    record = {"code": outcome.code, "status": outcome.status, "at": at, **_content(body)}
    append_line(path, json.dumps(record).encode())


def payload_of(body: bytes) -> Optional[dict[str, Any]]:
    """The payload that a spool's line holds; None for a torn or foreign one."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _content(body: bytes) -> dict[str, Any]:
    payload = payload_of(body)
    return {"line": body.decode("utf-8", "backslashreplace")} if payload is None else {"payload": payload}
