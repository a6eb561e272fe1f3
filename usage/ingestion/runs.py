"""Record the runs that client applications report, each exactly once however often it is sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from agents.authentication import machine_of
from portal.base.problems import Problem
from portal.models import ApiToken
from usage.clocks import SenderClock, plausible_time
from usage.ingestion.run_payload import RunPayload, read_run
from usage.models import Run
from usage.models.runs import MOST_PLAUSIBLE_PAGES, hour_of
from usage.querysets import EnrolledSpelling, QuotaExceeded

RECORDED, DUPLICATE, CONFLICT = "recorded", "duplicate", "conflict"
PAYLOAD_FIELDS = [field.name for field in dataclasses.fields(RunPayload)]


@dataclass(frozen=True)
class RunResult:
    """The status of one report, and the row that holds it or that it conflicts with."""

    status: str
    run: Run


def accept_run(body: Any, token: ApiToken) -> RunPayload:
    """Read a report and check that the caller may send it. Raises Problem.

    A machine's token implies the machine: a report without `machine_id` is the machine's own, and any spelling of its
    name is replaced by the enrolled one. Needs no query: the token was loaded with its bindings and its machine.
    """
    own = machine_of(token)
    if own is None:
        payload = read_run(body)
        if not token.is_for_app(payload.app_name):
            raise Problem("app_mismatch")
        return payload
    name = body.get("machine_id") if isinstance(body, dict) else ""
    if name is None or (isinstance(name, str) and own.is_called(name.strip(" "))):
        body = body | {"machine_id": own.machine_id}
    payload = read_run(body)
    if payload.machine_id != own.machine_id:
        raise Problem("machine_mismatch")
    if own.license_ref and payload.license_ref not in ("", own.license_ref):
        raise Problem("licence_mismatch")
    return payload


def record_runs(payloads: Sequence[RunPayload], token: ApiToken) -> list[RunResult]:
    """Insert the new runs of a report or a batch. Return the result of each payload, in order."""
    return insert_runs(payloads, token.bearer, is_own=machine_of(token) is not None)


def insert_runs(payloads: Sequence[RunPayload], reported_by: str, *, is_own: bool) -> list[RunResult]:
    """Insert the new runs in one statement. Return the result of each payload, in order.

    With `is_own`, the reporting machine is the one named, in its enrolled spelling.
    """
    now = timezone.now()
    first_by_id: dict[Any, Run] = {}
    for payload in payloads:
        first_by_id.setdefault(payload.run_id, build_run(payload, now, reported_by, is_own=is_own))
    # Sorted, so that two batches of the same runs cannot deadlock.
    new = Run.objects.insert_new(sorted(first_by_id.values(), key=lambda run: run.run_id))
    known = Run.objects.stored_by_id(first_by_id.keys() - new) if len(new) < len(first_by_id) else {}
    results = []
    for payload in payloads:
        run = known.get(payload.run_id) or first_by_id[payload.run_id]
        if payload.run_id in new:
            new.remove(payload.run_id)  # its repetitions in this batch are duplicates
            results.append(RunResult(RECORDED, run))
        else:
            results.append(RunResult(DUPLICATE if run.digest == payload.digest else CONFLICT, run))
    return results


def build_run(payload: RunPayload, now: datetime, reported_by: str, *, is_own: bool) -> Run:
    """Build the row. The database computes `over_quota` on INSERT, from the rollups of up to a minute ago."""
    started_at, clock = SenderClock(now, payload.sent_at).time_of(payload.started_at)
    fields = {name: getattr(payload, name) for name in PAYLOAD_FIELDS}
    if payload.machine_id and not is_own:
        fields["machine_id"] = EnrolledSpelling(payload.machine_id)
    return Run(
        received_at=now,
        hour=hour_of(min(started_at or now, now)),
        clock=clock,
        implausible=payload.total_pages > MOST_PLAUSIBLE_PAGES,
        reported_by=reported_by,
        over_quota=QuotaExceeded(payload.license_ref, now),
        **fields | {"started_at": started_at, "sent_at": plausible_time(payload.sent_at)},
    )
