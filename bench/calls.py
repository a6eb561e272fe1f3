"""The hot calls against a bare view of the same server: rounds in turn, the median of the ratios."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

from bench.figures import Figure, median, show
from bench.load import Address, Source, rates_in_turn, request_bytes

ROUNDS, SECONDS, BATCH = 5, 2.0, 100


def repeat(request: bytes) -> Source:
    return lambda _client: itertools.repeat(request)


bare = repeat(request_bytes("GET", "/bare"))


def heartbeats(machine: str) -> Source:
    return repeat(request_bytes("POST", "/api/v1/agents/heartbeat", machine, {"version": ""}))


def reports(app: str) -> Source:
    return lambda _client: (request_bytes("POST", "/api/v1/usage/report", app, run()) for _ in itertools.count())


def run() -> dict[str, Any]:
    document = {"page_count": 12, "status": "success", "duration_ms": 840, "extension": ".pdf"}
    return {
        "run_id": uuid.uuid4().hex, "license_ref": "LIC-1", "machine_id": "PC-1", "app_name": "bench",
        "app_version": "1", "document_count": 10, "succeeded_count": 10, "failed_count": 0, "total_pages": 120,
        "documents": [{"ordinal": n} | document for n in range(10)],
        "started_at": "2026-03-10T09:20:00Z", "sent_at": "2026-03-10T09:21:03Z",
    }  # fmt: skip


def create_tokens() -> tuple[str, str]:
    """Create and return the token of a machine and the token of an application."""
    # Imported late: Django's models exist only once the server's settings do.
    from agents.enrolment import issue_agent_token, provision  # noqa: PLC0415
    from portal.access.tokens.issuing import issue_token  # noqa: PLC0415

    machine = issue_agent_token(provision("PC-1", "bench"), actor="bench")
    return machine, issue_token("client", label="bench", actor="bench")[1]


def measure(address: Address) -> Iterator[Figure]:
    machine, app = create_tokens()

    def batches(_client: int) -> Iterator[bytes]:
        runs = ([run() for _ in range(BATCH)] for _ in itertools.count())
        return (request_bytes("POST", "/api/v1/usage/report/batch", app, {"runs": batch}) for batch in runs)

    calls = [(bare, 200), (heartbeats(machine), 200), (reports(app), 201), (batches, 200)]
    rounds = rates_in_turn(address, calls, ROUNDS, SECONDS)
    plain, beats, single, batched = (median(column) for column in zip(*rounds, strict=True))
    for name, column, base, factor, limit, note in (
        ("heartbeat / bare view", 1, 0, 1, 0.30, f"{beats:.0f}/s, bare {plain:.0f}/s"),
        ("report of 10 documents / bare view", 2, 0, 1, 0.15, f"{single:.0f}/s, bare {plain:.0f}/s"),
        ("runs/s in batches of 100 / single reports", 3, 2, BATCH, 5, f"{batched * BATCH:.0f} runs/s"),
    ):
        ratio = median(factor * rates[column] / rates[base] for rates in rounds)
        yield show(Figure(name, ratio, limit, True, "x", note))
