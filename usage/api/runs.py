"""`POST /api/v1/usage/report` and `/report/batch`: the runs of client applications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from vigie_client.contract import MAX_DOCUMENTS, MAX_RUNS_IN_BATCH

from portal import audit
from portal.api.bodies import Limits
from portal.api.views import HotView, Kind
from portal.base.moments import format_iso
from portal.base.problems import AUDITED, Problem, invalid_field
from portal.models import ApiToken
from usage.api.serializers import BatchAnswer, BatchSerializer, ReportAnswer, RunSerializer
from usage.ingestion.run_payload import RunPayload
from usage.ingestion.runs import CONFLICT, RECORDED, RunResult, accept_run, record_runs


class ReportView(HotView):
    """Record a run. Sent again it is a duplicate; with other content it conflicts."""

    kinds = frozenset({Kind.AGENT, Kind.CLIENT})
    refusals = ("counters_mismatch", "machine_mismatch", "app_mismatch", "licence_mismatch", "run_conflict")

    @extend_schema(request=RunSerializer, responses={201: ReportAnswer, 200: ReportAnswer})
    def post(self, body: dict[str, Any], token: ApiToken) -> tuple[int, dict[str, Any]]:
        (result,) = record_runs([accept_run(body, token)], token)
        if result.status == CONFLICT:
            raise Problem("run_conflict")
        answer = {
            "status": result.status,
            "run_id": result.run.run_id.hex,
            "received_at": format_iso(result.run.received_at),
            "dropped_keys": result.run.dropped_keys,
            "over_quota": result.run.over_quota,
        }
        return 201 if result.status == RECORDED else 200, answer


class BatchView(HotView):
    """Record up to 100 runs. Each gets a status of its own; the results are in the order sent."""

    kinds = frozenset({Kind.AGENT, Kind.CLIENT})
    # A document takes at least a comma and a bracket; the size limit of the body bounds the rest.
    limits = Limits(values=MAX_RUNS_IN_BATCH * 2 * (MAX_DOCUMENTS + 10))

    def answer(self, request: HttpRequest) -> tuple[int, dict[str, Any]]:
        """Return status and body. Refusals of single runs are audited here, once per code."""
        status, body = super().answer(request)
        for code in sorted({item["code"] for item in body["results"] if item["code"] in AUDITED}):
            audit.record_refusal(request, code)
        return status, body

    @extend_schema(request=BatchSerializer, responses={200: BatchAnswer})
    def post(self, body: dict[str, Any], token: ApiToken) -> tuple[int, dict[str, Any]]:
        results = [result for group in split_runs(read_runs(body)) for result in record_group(group, token)]
        statuses = [result["status"] for result in results]
        return 200, {
            "results": results,
            "recorded": statuses.count("recorded"),
            "duplicates": statuses.count("duplicate"),
            "conflicts": statuses.count("conflict"),
            "invalid": statuses.count("invalid"),
        }


def read_runs(body: dict[str, Any]) -> list[Any]:
    runs = body.get("runs")
    if not isinstance(runs, list):
        raise invalid_field("runs", "not_a_list", "A list of runs is expected.")
    if len(runs) > MAX_RUNS_IN_BATCH:
        raise invalid_field("runs", "too_many", f"At most {MAX_RUNS_IN_BATCH} runs are expected.")
    return runs


def split_runs(runs: list[Any]) -> Iterator[list[Any]]:
    """Yield groups of runs to record together. Empties `runs` on the way: the largest body takes 400 MiB."""
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


def record_group(runs: list[Any], token: ApiToken) -> list[dict[str, Any]]:
    accepted: list[RunPayload | Problem] = []
    for run in runs:
        try:
            accepted.append(accept_run(run, token))
        except Problem as problem:
            accepted.append(problem)
    results = iter(record_runs([item for item in accepted if isinstance(item, RunPayload)], token))
    return [format_run_result(item if isinstance(item, Problem) else next(results)) for item in accepted]


def format_run_result(item: RunResult | Problem) -> dict[str, Any]:
    if isinstance(item, Problem):
        return {"run_id": None, "status": "invalid", "code": item.code}
    code = "run_conflict" if item.status == CONFLICT else None
    return {"run_id": item.run.run_id.hex, "status": item.status, "code": code}
