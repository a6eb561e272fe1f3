"""Outcomes of the portal's answers."""

from __future__ import annotations

from typing import Any

import pytest

from vigie_client import Result, UsageTelemetryClient, make_session

REPORT = "/api/v1/usage/report"
BATCH = "/api/v1/usage/report/batch"


def test_recorded_run_is_delivered(portal: Any, client: Any, run: Any, token: str) -> None:
    assert client.report(run("a")) is True
    (path, headers, body) = portal.requests[0]
    assert path == REPORT
    assert headers["Authorization"] == f"Bearer {token}"
    assert headers["User-Agent"].startswith("vigie-client/")
    assert body.pop("sent_at").endswith("Z")
    assert body == run("a")


def test_duplicate_run_is_delivered(client: Any, run: Any) -> None:
    assert [client.report(run("a")), client.report(run("a"))] == [True, True]


def test_payload_of_the_caller_is_not_changed(client: Any, run: Any) -> None:
    payload = run("a")
    client.report(payload)
    assert payload == run("a")


@pytest.mark.parametrize(
    ("status", "code", "result"),
    [
        (408, "some_code", Result.RETRY), (429, "throttled", Result.RETRY), (500, "internal_error", Result.RETRY),
        (503, "not_ready", Result.RETRY), (401, "token_expired", Result.AUTH), (403, "machine_mismatch", Result.AUTH),
        (403, "app_mismatch", Result.AUTH), (403, "licence_mismatch", Result.AUTH),
        (400, "validation_failed", Result.REFUSED), (409, "run_conflict", Result.REFUSED),
        (413, "body_too_large", Result.REFUSED), (400, "bad_request", Result.RETRY), (404, "not_found", Result.RETRY),
        (405, "method_not_allowed", Result.RETRY), (415, "unsupported_encoding", Result.RETRY),
        (400, "length_mismatch", Result.RETRY),
    ],
)  # fmt: skip
def test_problem_refuses_a_run_only_with_a_quarantine_code(
    portal: Any, client: Any, run: Any, answer: Any, status: int, code: str, result: Result
) -> None:
    portal.answer_with(REPORT, answer(status, {"code": code}))
    outcome = client.send(run("a"))
    assert (outcome.result, outcome.status, outcome.code) == (result, status, code)


@pytest.mark.parametrize("status", [302, 400, 404, 409, 413, 422])
def test_answer_without_a_problem_refuses_nothing(portal: Any, client: Any, run: Any, answer: Any, status: int) -> None:
    plain = answer(status, {"code": "validation_failed"}, {"Content-Type": "application/json"})
    portal.answer_with(REPORT, plain)
    assert str(client.send(run("a"))) == f"retry {status}"


def test_outcome_has_retry_after(portal: Any, client: Any, run: Any, answer: Any) -> None:
    portal.answer_with(REPORT, answer(429, {}, {"Retry-After": "7"}))
    assert client.send(run("a")).retry_after == 7.0


def test_login_page_is_not_the_portal(portal: Any, client: Any, run: Any, answer: Any) -> None:
    portal.answer_with(REPORT, answer(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}))
    assert client.send(run("a")).code == "not_the_portal"


def test_unreachable_portal_keeps_the_run(portal: Any, token: str, run: Any) -> None:
    portal.close()
    assert UsageTelemetryClient(portal.url, make_session(token)).send(run("a")).result is Result.RETRY


@pytest.mark.parametrize("payload", [{"a": {1, 2}}, {"a": float("nan")}, {"a": object()}, None, 3, {1: {(): 2}}])
def test_payload_that_is_not_json_is_refused(client: Any, portal: Any, payload: Any) -> None:
    assert client.send(payload).code == "unserialisable"
    assert client.report_batch([payload]).whole.code == "unserialisable"
    assert portal.requests == []


def test_cyclic_payload_is_refused(client: Any) -> None:
    payload: dict[str, Any] = {}
    payload["self"] = payload
    assert client.report(payload) is False


def test_only_the_code_of_an_answer_is_logged(
    portal: Any, client: Any, run: Any, answer: Any, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    portal.answer_with(REPORT, answer(400, {"code": "C:\\Users\\bob", "detail": "C:\\Users\\bob"}))
    client.report(run("a"))
    assert caplog.messages == ["usage report not delivered: retry 400"]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"run_id": "a", "status": "recorded", "code": None}, "delivered"),
        ({"run_id": "a", "status": "duplicate"}, "delivered"),
        ({"run_id": "a", "status": "conflict", "code": "run_conflict"}, "refused run_conflict"),
        ({"run_id": None, "status": "invalid", "code": "counters_mismatch"}, "refused counters_mismatch"),
        ({"run_id": None, "status": "invalid", "code": "machine_mismatch"}, "auth machine_mismatch"),
        ({"run_id": None, "status": "invalid", "code": "app_mismatch"}, "auth app_mismatch"),
        ({"run_id": None, "status": "invalid", "code": "licence_mismatch"}, "auth licence_mismatch"),
        ({"run_id": None, "status": "invalid", "code": "quota_of_tomorrow"}, "retry quota_of_tomorrow"),
        ({"run_id": None, "status": "invalid"}, "retry no_receipt"),
        ({"run_id": "b", "status": "invalid", "code": "validation_failed"}, "retry no_receipt"),
        ({"run_id": "b", "status": "recorded"}, "retry no_receipt"),
        ({"run_id": None, "status": "recorded"}, "retry no_receipt"),
        ({"status": "recorded"}, "retry no_receipt"),
        ({"run_id": "a", "status": "what?"}, "retry no_receipt"),
        (None, "retry no_receipt"),
    ],
)
def test_each_run_of_a_batch_has_its_own_outcome(
    portal: Any, client: Any, run: Any, answer: Any, result: Any, said: str
) -> None:
    portal.answer_with(BATCH, answer(200, {"results": [result]}))
    assert str(client.report_batch([run("a")]).items[0]) == said


@pytest.mark.parametrize("body", [b"not json", b"[" * 3000, [], {"results": "ab"}, {"results": 3}, {}, None])
def test_batch_without_results_waits(portal: Any, client: Any, run: Any, answer: Any, body: Any) -> None:
    portal.answer_with(BATCH, answer(200, body))
    assert str(client.report_batch([run("a"), run("b")]).whole) == "retry 200 no_receipt"


def test_undelivered_runs_of_a_batch_are_logged_once_per_reason(
    portal: Any, client: Any, run: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mismatch = {"run_id": None, "status": "invalid", "code": "machine_mismatch"}
    portal.answer_with(BATCH, answer(200, {"results": [mismatch, mismatch, {"run_id": "c", "status": "recorded"}]}))
    client.report_batch([run(name) for name in "abc"])
    assert caplog.messages == ["usage report not delivered: auth machine_mismatch"]


def test_run_id_is_recognized_in_any_notation(portal: Any, client: Any, run: Any, answer: Any) -> None:
    portal.answer_with(BATCH, answer(200, {"results": [{"run_id": "0f8f", "status": "recorded"}]}))
    assert client.report_batch([run("0F-8F")]).items[0].delivered
