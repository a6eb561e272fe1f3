"""Request bodies that pass validation, by method and path."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from beta.tests.factories import feedback_body
from tests.authorisation.world import KEY, MACHINE
from usage.tests.payloads import run_payload

REPORT, DEPOSIT = b"{}", "/api/v1/backups/deposits/log/OPERATION_20260310_1200_PC-1.json"
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/v1/agents/enroll"): {"machine_id": "NEW-1"},
    ("POST", "/api/v1/agents/uninstall"): {"machine_id": MACHINE},
    ("POST", "/api/v1/usage/report"): run_payload(machine_id=MACHINE),
    ("POST", "/api/v1/usage/report/batch"): {"runs": []},
    ("POST", "/api/v1/beta/feedback"): feedback_body(),
    ("POST", f"/feedback/{KEY}"): urlencode({"id": str(uuid4()), "participant": "carol", "type": "ux", "comment": "x"}),
    ("PUT", DEPOSIT): REPORT,
}
HEADERS = {("PUT", DEPOSIT): {"X-Content-SHA256": hashlib.sha256(REPORT).hexdigest()}}


def body_of(method: str, path: str) -> Any:
    """Return the body and its media type: a dictionary is sent as JSON, a text as a form."""
    if path.startswith("/admin/"):
        return "post=yes" if method == "POST" else None
    return BODIES.get((method, path))
