"""Feedback to send: valid, and the means to make it otherwise."""

from __future__ import annotations

import uuid
from typing import Any


def feedback(**changes: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "participant": "carol@example.org", "comment": "It stops at the third."} | changes


def without(name: str, **changes: Any) -> dict[str, Any]:
    body = feedback(**changes)
    del body[name]
    return body
