"""The quarantine (dead letters): items that the portal refused, kept until a person retries or drops them.

One JSON object per line: `code`, `status` (of the answer, or null), `at` (Unix time), and `payload`, or `line` if the
spool's line was damaged. Every call is made under the spool's lock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Optional

from vigie_client.http.outcomes import Outcome
from vigie_client.spool.lines import Line, file_size, read_lines


def make_record(payload: Optional[dict[str, Any]], body: bytes, outcome: Outcome, at: float) -> bytes:
    """Return the quarantine line of an item: its payload, or its `body` if that is damaged."""
    content = {"line": body.decode("utf-8", "backslashreplace")} if payload is None else {"payload": payload}
    return json.dumps({"code": outcome.code, "status": outcome.status, "at": at, **content}).encode()


def split_surplus(path: str, records: Sequence[bytes], max_bytes: int) -> tuple[list[Line], list[Line]]:
    """Split the quarantine into lines to drop, so that `records` fit, and lines to keep.

    The oldest are dropped first, down to half of `max_bytes`.
    """
    incoming = sum(len(record) + 1 for record in records)
    if file_size(path) + incoming <= max_bytes:
        return [], []
    kept = list(read_lines(path))
    size = sum(len(line.body) + 1 for line in kept)
    going = []
    while kept and size + incoming > max_bytes // 2:
        going.append(kept.pop(0))
        size -= len(going[-1].body) + 1
    return going, kept


def parse_record(line: Line) -> dict[str, Any]:
    """Parse a line of the quarantine. A line torn by a kill becomes a record of its text."""
    try:
        record = json.loads(line.body)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        return record
    return {"code": "damaged_line", "status": None, "at": None, "line": line.body.decode("utf-8", "backslashreplace")}


def spool_line_for(line: Line, code: Optional[str]) -> Optional[bytes]:
    """Return the spool line that retries a record, or None if it has another `code` or no payload."""
    record = parse_record(line)
    if code not in (None, record.get("code")) or not isinstance(record.get("payload"), dict):
        return None
    try:
        return json.dumps(record["payload"], allow_nan=False).encode("ascii")
    except ValueError:
        return None
