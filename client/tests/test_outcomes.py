"""What the client makes of the portal's answers."""

from __future__ import annotations

from typing import Any

import pytest

from vigie_client import Result, UsageTelemetryClient, make_session

REPORT = "/api/v1/usage/report"
BATCH = "/api/v1/usage/report/batch"


def test_it_reports_a_run(portal: Any, client: Any, run: Any, token: str) -> None:
    assert client.report(run("a")) is True
    (path, headers, body) = portal.requests[0]
    assert path == REPORT
    assert headers["Authorization"] == f"Bearer {token}"
    assert headers["User-Agent"].startswith("vigie-client/")
    assert body.pop("sent_at").endswith("Z")
    assert body == run("a")


def test_it_counts_a_duplicate_as_delivered(client: Any, run: Any) -> None:
    assert [client.report(run("a")), client.report(run("a"))] == [True, True]


def test_it_leaves_the_callers_payload_alone(client: Any, run: Any) -> None:
    payload = run("a")
    client.report(payload)
    assert payload == run("a")


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (408, Result.RETRY), (429, Result.RETRY), (500, Result.RETRY), (502, Result.RETRY), (503, Result.RETRY),
        (302, Result.RETRY), (401, Result.AUTH), (403, Result.AUTH), (400, Result.REFUSED), (404, Result.REFUSED),
        (409, Result.REFUSED), (413, Result.REFUSED), (200, Result.DELIVERED), (201, Result.DELIVERED),
    ],
)  # fmt: skip
def test_it_judges_each_status(portal: Any, client: Any, run: Any, answer: Any, status: int, result: Result) -> None:
    portal.answer_with(REPORT, answer(status, {"code": "some_code"}))
    outcome = client.send(run("a"))
    assert (outcome.result, outcome.status) == (result, status)
    assert outcome.code == (None if result is Result.DELIVERED else "some_code")


def test_it_passes_on_how_long_to_wait(portal: Any, client: Any, run: Any, answer: Any) -> None:
    portal.answer_with(REPORT, answer(429, {}, {"Retry-After": "7"}))
    assert client.send(run("a")).retry_after == 7.0


def test_it_does_not_take_a_login_page_for_the_portal(portal: Any, client: Any, run: Any, answer: Any) -> None:
    portal.answer_with(REPORT, answer(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}))
    assert client.send(run("a")).code == "not_the_portal"


def test_it_keeps_a_run_when_nobody_listens(portal: Any, token: str, run: Any) -> None:
    portal.close()
    assert UsageTelemetryClient(portal.url, make_session(token)).send(run("a")).result is Result.RETRY


@pytest.mark.parametrize("payload", [{"a": {1, 2}}, {"a": float("nan")}, {"a": object()}, None, 3, {1: {(): 2}}])
def test_it_refuses_what_json_cannot_say(client: Any, portal: Any, payload: Any) -> None:
    assert client.send(payload).code == "unserialisable"
    assert client.report_batch([payload]).whole.code == "unserialisable"
    assert portal.requests == []


def test_it_survives_a_payload_that_holds_itself(client: Any) -> None:
    payload: dict[str, Any] = {}
    payload["self"] = payload
    assert client.report(payload) is False


def test_it_logs_no_more_of_an_answer_than_its_code(
    portal: Any, client: Any, run: Any, answer: Any, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    portal.answer_with(REPORT, answer(400, {"code": "C:\\Users\\bob", "detail": "C:\\Users\\bob"}))
    client.report(run("a"))
    assert caplog.messages == ["usage report not delivered: refused 400"]


def test_it_judges_each_run_of_a_batch(portal: Any, client: Any, run: Any, answer: Any) -> None:
    results = [
        {"run_id": "a", "status": "recorded", "code": None},
        {"run_id": "b", "status": "duplicate"},
        {"run_id": "c", "status": "conflict", "code": "run_conflict"},
        {"run_id": None, "status": "invalid"},
        {"run_id": "e", "status": "what?"},
    ]
    portal.answer_with(BATCH, answer(200, {"results": results}))
    items = client.report_batch([run(name) for name in "abcdef"]).items
    assert [item.result.value for item in items] == ["delivered", "delivered", "refused", "refused", "retry", "retry"]
    assert [item.code for item in items[2:4]] == ["run_conflict", "invalid"]


@pytest.mark.parametrize("body", [b"not json", b"[" * 3000, [], {"results": "ab"}, {"results": 3}, {}, None])
def test_it_keeps_every_run_of_a_batch_whose_answer_says_nothing(
    portal: Any, client: Any, run: Any, answer: Any, body: Any
) -> None:
    portal.answer_with(BATCH, answer(200, body))
    assert [item.result for item in client.report_batch([run("a"), run("b")]).items] == [Result.RETRY] * 2


def test_it_believes_no_result_that_names_another_run(portal: Any, client: Any, run: Any, answer: Any) -> None:
    portal.answer_with(BATCH, answer(200, {"results": [{"run_id": "b", "status": "recorded"}]}))
    assert client.report_batch([run("a")]).items[0].result is Result.RETRY


def test_it_knows_a_run_id_in_any_of_its_forms(portal: Any, client: Any, run: Any, answer: Any) -> None:
    portal.answer_with(BATCH, answer(200, {"results": [{"run_id": "0f8f", "status": "recorded"}]}))
    assert client.report_batch([run("0F-8F")]).items[0].delivered
