"""Reports of runs become rows, each exactly once, however often they are sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from agents.authentication import machine_of
from agents.models import Agent
from portal.base.problems import Problem
from portal.models import ApiToken
from usage.clocks import SenderClock, plausible
from usage.models import Run
from usage.models.runs import MOST_PLAUSIBLE_PAGES, hour_of
from usage.querysets import QuotaExceeded, SpelledAsEnrolled
from usage.report import RunPayload, read_run

RECORDED, DUPLICATE, CONFLICT = "recorded", "duplicate", "conflict"
REPORT_FIELDS = [field.name for field in dataclasses.fields(RunPayload)]


@dataclass(frozen=True)
class Outcome:
    """What became of one report; `run` is the row that holds it, or the one it conflicts with."""

    status: str
    run: Run


def accept(body: Any, token: ApiToken) -> RunPayload:
    """Return the valid report of a caller who may send it. Raises Problem.

    A machine's token says whose report it is: without a name it is the machine's, and in any case it is spelled as it
    was enrolled. What tokens and machines are bound to came with the token's query.
    """
    own = machine_of(token)
    if own is None:
        report = read_run(body)
        if not token.is_for_app(report.app_name):
            raise Problem("app_mismatch")
        return report
    if isinstance(body, dict) and is_its_name(own, body.get("machine_id")):
        body = body | {"machine_id": own.machine_id}
    report = read_run(body)
    if report.machine_id != own.machine_id:
        raise Problem("machine_mismatch")
    if own.license_ref and report.license_ref not in ("", own.license_ref):
        raise Problem("licence_mismatch")
    return report


def is_its_name(agent: Agent, name: Any) -> bool:
    return name is None or (isinstance(name, str) and agent.is_called(name.strip(" ")))


def record(reports: Sequence[RunPayload], token: ApiToken) -> list[Outcome]:
    """Writes the reports that are new, in one statement, and says of each, in order, what became of it."""
    now = timezone.now()
    firsts: dict[Any, Run] = {}
    for report in reports:
        firsts.setdefault(report.run_id, row(report, now, token))
    # In one order whoever sends them: two batches of the same runs would otherwise wait for each other.
    new = Run.objects.insert_new(sorted(firsts.values(), key=lambda run: run.run_id))
    known = Run.objects.known(firsts.keys() - new) if len(new) < len(firsts) else {}
    outcomes = []
    for report in reports:
        kept = known.get(report.run_id) or firsts[report.run_id]
        if report.run_id in new:
            new.remove(report.run_id)
            outcomes.append(Outcome(RECORDED, kept))
        else:
            outcomes.append(Outcome(DUPLICATE if kept.digest == report.digest else CONFLICT, kept))
    return outcomes


def row(report: RunPayload, now: datetime, token: ApiToken) -> Run:
    """Whether it is over the quota the database finds out as it writes: of runs counted up to a minute ago, or so."""
    started_at, clock = SenderClock(now, report.sent_at).time_of(report.started_at)
    fields = {name: getattr(report, name) for name in REPORT_FIELDS}
    if report.machine_id and machine_of(token) is None:
        fields["machine_id"] = SpelledAsEnrolled(report.machine_id)
    return Run(
        received_at=now,
        hour=hour_of(min(started_at or now, now)),
        clock=clock,
        implausible=report.total_pages > MOST_PLAUSIBLE_PAGES,
        reported_by=token.bearer,
        over_quota=QuotaExceeded(report.license_ref, now),
        **fields | {"started_at": started_at, "sent_at": plausible(report.sent_at)},
    )
