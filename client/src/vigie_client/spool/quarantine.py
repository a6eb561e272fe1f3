"""The quarantine: items that the portal will never take, out of the way until a person retries or drops them.

One JSON object a line: `code`, `status` (of the answer, or null), `at` (Unix time), and `payload`, or `line` where the
spool's line was damaged. Every call is made under the spool's lock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Optional

from vigie_client.http.outcomes import Outcome
from vigie_client.spool.lines import Line, file_size, read_lines


def make_record(payload: Optional[dict[str, Any]], body: bytes, outcome: Outcome, at: float) -> bytes:
    """Return the line that keeps an item: its payload, or its `body` where that is none."""
    content = {"line": body.decode("utf-8", "backslashreplace")} if payload is None else {"payload": payload}
    return json.dumps({"code": outcome.code, "status": outcome.status, "at": at, **content}).encode()


def split_surplus(path: str, records: Sequence[bytes], most_bytes: int) -> tuple[list[Line], list[Line]]:
    """Return the lines that must go for `records` to fit, oldest first and down to half of the bound, and the rest."""
    incoming = sum(len(record) + 1 for record in records)
    if file_size(path) + incoming <= most_bytes:
        return [], []
    kept = list(read_lines(path))
    size = sum(len(line.body) + 1 for line in kept)
    going = []
    while kept and size + incoming > most_bytes // 2:
        going.append(kept.pop(0))
        size -= len(going[-1].body) + 1
    return going, kept


def parse_record(line: Line) -> dict[str, Any]:
    """Return the record in a line of the quarantine; one torn by a kill is a record of its text."""
    try:
        record = json.loads(line.body)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        return record
    return {"code": "damaged_line", "status": None, "at": None, "line": line.body.decode("utf-8", "backslashreplace")}


def spool_line_for(line: Line, code: Optional[str]) -> bytes:
    """Return the line of a spool that a record goes back as; empty for another `code` and for what is no payload."""
    record = parse_record(line)
    if code not in (None, record.get("code")) or not isinstance(record.get("payload"), dict):
        return b""
    try:
        return json.dumps(record["payload"], allow_nan=False).encode("ascii")
    except ValueError:
        return b""
