"""Import runs from spools: those of the client, its quarantine, and those of older clients."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta, tzinfo
from functools import lru_cache
from typing import Any

from django.utils import timezone
from vigie_client.contract import COUNTERS

from agents.models import Agent
from portal.api.payloads import PayloadReader
from portal.base.problems import Problem
from portal.legacy.files import LegacyFile
from portal.legacy.registry import ACTOR, ImportOptions, LegacyKind, batched, legacy_kinds
from portal.legacy.reports import BAD_TIME, NO_TIME, ImportReport, Reason, describe_fields
from portal.legacy.values import read_moment, reduce_machine_id
from portal.work.jobs import Lease
from usage.ingestion.run_payload import RunPayload, count_documents, read_documents, read_run
from usage.ingestion.runs import CONFLICT, DUPLICATE, RECORDED, insert_runs
from usage.models import Run
from usage.quotas import review_quotas
from usage.rollups import LEASE_NAME, catch_up

# The key of a spooled run that is the client's own.
SPOOL_MARK = "spool_waited"
# Names that older clients gave to the time of a run, the best first.
TIMES = ("started_at", "timestamp", "created_at", "sent_at")
# Ids of runs that have none are derived from their content.
NAMESPACE = uuid.UUID("5f6c2f0b-8a0e-5d7f-9b57-7a1f2d6f3c11")

# Names of machines that are remembered in their enrolled spelling.
MOST_SPELLINGS = 10_000
LONGEST_PERIOD = timedelta(days=32)

OTHER_CONTENT = Reason("run_conflict", "the portal has another run with this id")


def has_runs(file: LegacyFile) -> bool:
    runs = map(unwrap, file.objects)
    return any("app_name" in run and not run.keys().isdisjoint(("run_id", "documents", *COUNTERS)) for run in runs)


def unwrap(line: dict[str, Any]) -> dict[str, Any]:
    """Return the run of a line, which in a quarantine is a part of it."""
    payload = line.get("payload")
    return payload if isinstance(payload, dict) else line


def load_runs(file: LegacyFile, report: ImportReport, options: ImportOptions) -> None:
    """Import the runs. No periodic job counts them meanwhile, or it would warn of quotas that old runs exceed."""
    with options.lease(LEASE_NAME) as lease:
        for batch in batched(read_runs(file, report, options.zone)):
            with options.transaction(lease):
                store_runs(batch, report, applies=options.applies)
                if lease and any(is_current(payload) for _number, payload in batch):
                    count_silently(lease)
        if lease:
            count_silently(lease)


def is_current(payload: RunPayload) -> bool:
    """Return whether a run may exceed a quota: it is then marked in the run's transaction, after which all may end."""
    return payload.started_at is None or payload.started_at > timezone.now() - LONGEST_PERIOD


def count_silently(lease: Lease) -> None:
    now = timezone.now()
    catch_up(now, [lease])
    review_quotas(now, lease, sends=False)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_runs(file: LegacyFile, report: ImportReport, zone: tzinfo) -> Iterator[tuple[int, RunPayload]]:
    spellings = lru_cache(MOST_SPELLINGS)(enrolled_spelling)
    for row in file.json_rows(report):
        body = unwrap(row.values)
        try:
            started_at = next((moment for name in TIMES if (moment := read_moment(body.get(name), zone))), None)
        except ValueError:
            report.refuse(row.number, BAD_TIME)
            continue
        if started_at is None:
            report.refuse(row.number, NO_TIME)
            continue
        completed = complete_run(body, report, spellings)
        if body.get(TIMES[0]):
            completed[TIMES[0]] = started_at.isoformat()
        try:
            # The other times are left out of the digest, as they are if a client delivers the run later.
            yield row.number, replace(read_run(completed), started_at=started_at)
        except Problem as problem:
            report.refuse(row.number, describe_problem(problem))


def enrolled_spelling(machine_id: str) -> str:
    """Return the name as enrolled, which the machine's own delivery of the run has, or as it is."""
    return Agent.objects.named(machine_id).values_list("machine_id", flat=True).first() or machine_id


def complete_run(body: dict[str, Any], report: ImportReport, spell: Callable[[str], str]) -> dict[str, Any]:
    """Return the run in today's form: older clients gave no id, no counters or no documents.

    Its times are left out: that of sending would pass for the skew of the sender's clock.
    """
    found = {name: value for name, value in body.items() if name not in (SPOOL_MARK, *TIMES)}
    if found.get("run_id") is None:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
        found["run_id"] = uuid.uuid5(NAMESPACE, canonical).hex
    machine_id = found.get("machine_id")
    if isinstance(machine_id, str) and machine_id:
        reduced = reduce_machine_id(machine_id)
        report.note_id(machine_id, reduced)
        found["machine_id"] = spell(reduced) if reduced else None
    if found.get("documents") is None:
        found |= {"documents": [], "documents_omitted": found.get("document_count")}
    elif found.keys().isdisjoint(COUNTERS):
        reader = PayloadReader()
        documents = read_documents(reader, found)
        if not reader.errors:  # or `read_run` refuses the run for them
            found |= count_documents(documents)
    return found


def describe_problem(problem: Problem) -> Reason:
    """Return the code of a refused run, and its fields. Neither holds a value."""
    fields = describe_fields(problem.errors)
    return Reason(problem.code, f"the run isn’t valid: {fields}" if fields else "the counters contradict the documents")


# --- Writing ---------------------------------------------------------------------------------------------------------


def store_runs(batch: list[tuple[int, RunPayload]], report: ImportReport, *, applies: bool) -> None:
    payloads = [payload for _number, payload in batch]
    if applies:
        statuses = [result.status for result in insert_runs(payloads, ACTOR, is_own=False)]
    else:
        statuses = list(foresee_statuses(payloads))
    for (number, _payload), status in zip(batch, statuses, strict=True):
        if status == CONFLICT:
            report.skip(number, OTHER_CONTENT)
        else:
            report.count("created" if status == RECORDED else "unchanged")


def foresee_statuses(payloads: list[RunPayload]) -> Iterator[str]:
    """Yield the statuses that `insert_runs` would return."""
    stored = Run.objects.stored_by_id(payload.run_id for payload in payloads)
    digests = {run_id: run.digest for run_id, run in stored.items()}
    for payload in payloads:
        if payload.run_id not in digests:
            digests[payload.run_id] = payload.digest
            yield RECORDED
        else:
            yield DUPLICATE if digests[payload.run_id] == payload.digest else CONFLICT


legacy_kinds.register(LegacyKind("runs", has_runs, load_runs))
