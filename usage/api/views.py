"""The calls of `/api/v1/usage/`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from vigie_client.contract import MAX_DOCUMENTS, MAX_RUNS_IN_BATCH

from portal import audit
from portal.api.bodies import Limits
from portal.api.views import HotView, Kind
from portal.base.moments import iso
from portal.base.problems import AUDITED, Problem, invalid
from portal.models import ApiToken
from usage import ingest
from usage.api.serializers import BatchAnswer, BatchSerializer, ReportAnswer, RunSerializer
from usage.report import RunPayload


class ReportView(HotView):
    """One run. Sent again it is a duplicate; with other content it conflicts."""

    kinds = frozenset({Kind.AGENT, Kind.CLIENT})
    refusals = ("counters_mismatch", "machine_mismatch", "app_mismatch", "licence_mismatch", "run_conflict")

    @extend_schema(request=RunSerializer, responses={201: ReportAnswer, 200: ReportAnswer})
    def post(self, body: dict[str, Any], token: ApiToken) -> tuple[int, dict[str, Any]]:
        (outcome,) = ingest.record([ingest.accept(body, token)], token)
        if outcome.status == ingest.CONFLICT:
            raise Problem("run_conflict")
        answer = {
            "status": outcome.status,
            "run_id": outcome.run.run_id.hex,
            "received_at": iso(outcome.run.received_at),
            "dropped_keys": outcome.run.dropped_keys,
            "over_quota": outcome.run.over_quota,
        }
        return 201 if outcome.status == ingest.RECORDED else 200, answer


class BatchView(HotView):
    """Up to 100 runs; each is judged by itself, and the results stand in the order sent."""

    kinds = frozenset({Kind.AGENT, Kind.CLIENT})
    # A document is a comma and a bracket at the least; the body's size bounds what more there is.
    limits = Limits(values=MAX_RUNS_IN_BATCH * 2 * (MAX_DOCUMENTS + 10))

    def answer(self, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        """Status and body. What would be audited of a single run is audited of a batch, once a code."""
        status, body = super().answer(request)
        for code in sorted({item["code"] for item in body["results"] if item["code"] in AUDITED}):
            audit.record_refusal(request, code)
        return status, body

    @extend_schema(request=BatchSerializer, responses={200: BatchAnswer})
    def post(self, body: dict[str, Any], token: ApiToken) -> tuple[int, dict[str, Any]]:
        results = [told for runs in groups_of(runs_of(body)) for told in results_of(runs, token)]
        statuses = [item["status"] for item in results]
        return 200, {
            "results": results,
            "recorded": statuses.count("recorded"),
            "duplicates": statuses.count("duplicate"),
            "conflicts": statuses.count("conflict"),
            "invalid": statuses.count("invalid"),
        }


def runs_of(body: dict[str, Any]) -> list[Any]:
    runs = body.get("runs")
    if not isinstance(runs, list):
        raise invalid("runs", "not_a_list", "A list of runs is expected.")
    if len(runs) > MAX_RUNS_IN_BATCH:
        raise invalid("runs", "too_many", f"At most {MAX_RUNS_IN_BATCH} runs are expected.")
    return runs


def groups_of(runs: list[Any]) -> Iterator[list[Any]]:
    """The runs in groups that are recorded at once; the list forgets them, since the largest takes 400 MiB."""
    group: list[Any] = []
    documents = 0
    for index, run in enumerate(runs):
        group.append(run)
        runs[index] = None
        listed = run.get("documents") if isinstance(run, dict) else None
        documents += len(listed) if isinstance(listed, list) else 0
        if documents >= MAX_DOCUMENTS:
            yield group
            group, documents = [], 0
    if group:
        yield group


def results_of(runs: list[Any], token: ApiToken) -> list[dict[str, Any]]:
    read = [attempt(run, token) for run in runs]
    outcomes = iter(ingest.record([item for item in read if isinstance(item, RunPayload)], token))
    return [result(item if isinstance(item, Problem) else next(outcomes)) for item in read]


def attempt(run: Any, token: ApiToken) -> RunPayload | Problem:
    try:
        return ingest.accept(run, token)
    except Problem as problem:
        return problem


def result(item: ingest.Outcome | Problem) -> dict[str, Any]:
    if isinstance(item, Problem):
        return {"run_id": None, "status": "invalid", "code": item.code}
    code = "run_conflict" if item.status == ingest.CONFLICT else None
    return {"run_id": item.run.run_id.hex, "status": item.status, "code": code}
