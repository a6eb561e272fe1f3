"""The hot calls against a bare view of the same server: rounds in turn, the median of the ratios."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

from bench.figures import Figure, median, show
from bench.load import Address, rate, request_bytes

ROUNDS, SECONDS, BATCH = 5, 2.0, 100


def bare(_: int) -> Iterator[bytes]:
    return itertools.repeat(request_bytes("GET", "/bare"))


def run() -> dict[str, Any]:
    documents = [
        {"ordinal": n, "page_count": 12, "status": "success", "duration_ms": 840, "extension": ".pdf"}
        for n in range(10)
    ]
    return {
        **{
            "run_id": uuid.uuid4().hex,
            "license_ref": "LIC-1",
            "machine_id": "PC-1",
            "app_name": "bench",
            "app_version": "1",
        },
        **{"document_count": 10, "succeeded_count": 10, "failed_count": 0, "total_pages": 120, "documents": documents},
        **{"started_at": "2026-03-10T09:20:00Z", "sent_at": "2026-03-10T09:21:03Z"},
    }


def measure(address: Address) -> Iterator[Figure]:
    # Imported late: Django's models exist only once the server's settings do.
    from agents.enrolment import issue_agent_token, provision  # noqa: PLC0415
    from portal.access.tokens.issuing import issue_token  # noqa: PLC0415

    machine = issue_agent_token(provision("PC-1", "bench"), actor="bench")
    app = issue_token("client", label="bench", actor="bench")[1]

    def heartbeats(_: int) -> Iterator[bytes]:
        return itertools.repeat(request_bytes("POST", "/api/v1/agents/heartbeat", machine, {"version": ""}))

    def reports(_: int) -> Iterator[bytes]:
        return (request_bytes("POST", "/api/v1/usage/report", app, run()) for _ in itertools.count())

    def batches(_: int) -> Iterator[bytes]:
        runs = ([run() for _ in range(BATCH)] for _ in itertools.count())
        return (request_bytes("POST", "/api/v1/usage/report/batch", app, {"runs": batch}) for batch in runs)

    for source, status in ((bare, 200), (heartbeats, 200), (reports, 201), (batches, 200)):
        rate(address, source, seconds=1, expected=status)  # warm
    rounds = [
        (
            rate(address, bare, seconds=SECONDS, expected=200),
            rate(address, heartbeats, seconds=SECONDS, expected=200),
            rate(address, reports, seconds=SECONDS, expected=201),
            rate(address, batches, seconds=SECONDS, expected=200) * BATCH,
        )
        for _ in range(ROUNDS)
    ]
    plain, beats, single, batched = (median(column) for column in zip(*rounds, strict=True))
    note = f"bare {plain:.0f}/s"
    yield show(
        Figure("heartbeat / bare view", median(r[1] / r[0] for r in rounds), 0.30, True, "x", f"{beats:.0f}/s, {note}")
    )
    yield show(
        Figure(
            "report of 10 documents / bare view",
            median(r[2] / r[0] for r in rounds),
            0.15,
            True,
            "x",
            f"{single:.0f}/s, {note}",
        )
    )
    yield show(
        Figure(
            "runs/s in batches of 100 / single reports",
            median(r[3] / r[2] for r in rounds),
            5,
            True,
            "x",
            f"{batched:.0f} runs/s",
        )
    )
