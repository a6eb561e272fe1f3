"""Items of each spool wait after foreign answers and are delivered once the portal is back."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Any, Callable

import pytest
import requests
from client.tests.helpers.processes import PATIENCE

from vigie_client import SpoolStats, UsageTelemetryClient, flush_spool, spool_payload, spool_stats
from vigie_client.report.senders import ActivitySender, FeedbackSender
from vigie_client.spool.client import SpoolClient

PLAIN, HTML, JSON, PROBLEM = "text/plain", "text/html", "application/json", "application/problem+json"
ANSWERS = {
    "plain_400": (400, PLAIN, "Bad Request"),
    "html_400": (400, HTML, "<html>plain HTTP was sent to an HTTPS port</html>"),
    "bad_host_400": (400, PROBLEM, '{"code": "bad_request"}'),
    "json_400": (400, JSON, '{"code": "validation_failed"}'),
    "cut_short_400": (400, PROBLEM, '{"code": "length_mismatch"}'),
    "traefik_404": (404, PLAIN, "404 page not found\n"),
    "html_404": (404, HTML, "<html>404 Not Found</html>"),
    "wrong_prefix_404": (404, PROBLEM, '{"code": "not_found"}'),
    "html_405": (405, HTML, "<html>Method Not Allowed</html>"),
    "proxy_407": (407, HTML, "<html>proxy authentication</html>"),
    "html_413": (413, HTML, "<html>Request Entity Too Large</html>"),
    "misdirected_421": (421, HTML, ""),
    "too_early_425": (425, PLAIN, ""),
    "policy_451": (451, HTML, "blocked by policy"),
    "html_502": (502, HTML, "<html>502 Bad Gateway</html>"),
    "login_200": (200, HTML, "<html>login</html>"),
    "plain_200": (200, PLAIN, "OK"),
    "empty_json_200": (200, JSON, "{}"),
    "other_json_200": (200, JSON, '{"status": "recorded", "results": {}}'),
    "empty_results_200": (200, JSON, '{"results": []}'),
    "plain_201": (201, PLAIN, ""),
    "nothing_204": (204, PLAIN, ""),
}


def portal(body: dict[str, Any]) -> tuple[int, str, str]:
    """Answer like a portal that records everything."""
    if "runs" in body:
        answer: Any = {
            "results": [{"run_id": run["run_id"], "status": "recorded", "code": None} for run in body["runs"]]
        }
    elif "sessions" in body:
        lists = {name: body[name] for name in ("sessions", "features", "errors")}
        told = {name: [{"id": event["id"], "status": "recorded"} for event in events] for name, events in lists.items()}
        answer = {"results": told, "dropped_keys": 0}
    else:
        (key,) = {"run_id", "id"} & body.keys()
        answer = {"status": "recorded", key: body[key]}
    return 200, JSON, json_module.dumps(answer)


class Session:
    """A session that returns the foreign answer `name`, or the portal's answer without a name."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.calls = 0

    def post(self, url: str, json: dict[str, Any], timeout: float) -> requests.Response:
        self.calls += 1
        status, content_type, text = ANSWERS.get(self.name) or portal(json)
        response = requests.Response()
        response.status_code, response._content = status, text.encode()
        response.headers["Content-Type"] = content_type
        return response


def run(number: int) -> dict[str, Any]:
    return {"run_id": f"{number:032x}", "app_name": "editor", "app_version": "1.0", "documents": []}


def event(number: int) -> dict[str, Any]:
    return {"list": "errors", "event": {"id": f"{number:032x}", "user_email": "bob@example.org", "error_type": "x"}}


def feedback(number: int) -> dict[str, Any]:
    return {"feedback": {"id": f"{number:032x}", "participant": "carol@example.org", "comment": "x"}}


SPOOLS: list[tuple[type[SpoolClient], Callable[[int], dict[str, Any]]]] = [
    (UsageTelemetryClient, run),
    (ActivitySender, event),
    (FeedbackSender, feedback),
]


def state(stats: SpoolStats) -> tuple[int, int, int]:
    return stats.pending, stats.quarantined, sum(stats.dropped.values())


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(("kind", "item"), SPOOLS, ids=["runs", "activity", "feedback"])
def test_items_wait_after_a_foreign_answer_and_are_delivered_later(
    tmp_path: Path, name: str, kind: type[SpoolClient], item: Callable[[int], dict[str, Any]]
) -> None:
    for count in (3, 1):
        spool, session = tmp_path / str(count), Session(name)
        client = kind("http://portal.example", session)
        assert all(spool_payload(spool, item(number)) for number in range(count))
        assert flush_spool(spool, client, timeout=PATIENCE) == 0
        assert state(spool_stats(spool)) == (count, 0, 0)
        session.name = ""
        assert flush_spool(spool, client, force=True, timeout=PATIENCE) == count
        assert state(spool_stats(spool)) == (0, 0, 0)


@pytest.mark.parametrize("name", ["traefik_404", "html_413", "plain_200", "bad_host_400"])
@pytest.mark.parametrize(("kind", "item"), SPOOLS, ids=["runs", "activity", "feedback"])
def test_backlog_after_foreign_answers_needs_few_calls(
    tmp_path: Path, name: str, kind: type[SpoolClient], item: Callable[[int], dict[str, Any]]
) -> None:
    spool, session = tmp_path / "spool", Session(name)
    spool.write_text("".join(json_module.dumps(item(number)) + "\n" for number in range(1500)))
    client = kind("http://portal.example", session)
    assert flush_spool(spool, client, timeout=PATIENCE) == 0
    assert state(spool_stats(spool)) == (1500, 0, 0)
    assert session.calls <= 10


class Slow(Session):
    """A portal that takes three seconds per call by the clock of the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now = 0.0
        monkeypatch.setattr("vigie_client.spool.flush.monotonic", lambda: self.now)

    def post(self, url: str, json: dict[str, Any], timeout: float) -> requests.Response:
        self.now += 3
        return super().post(url, json, timeout)


def test_flush_to_a_slow_portal_ends_within_its_timeout_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, session = tmp_path / "spool", Slow(monkeypatch)
    spool.write_text("".join(json_module.dumps(run(number)) + "\n" for number in range(250)))
    client = UsageTelemetryClient("http://portal.example", session, timeout=4)
    assert [flush_spool(spool, client) for _ in range(3)] == [100, 100, 50]
    assert session.now == 9
    assert state(spool_stats(spool)) == (0, 0, 0)


def test_call_has_no_more_time_than_its_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    spool, client = tmp_path / "spool", UsageTelemetryClient("http://portal.example", Session(), timeout=PATIENCE)

    def run_at_once(call: Callable[[], Any], timeout: float) -> Any:
        given.append(timeout)
        return call()

    monkeypatch.setattr(client._runner, "run", run_at_once)
    spool_payload(spool, run(1))
    assert flush_spool(spool, client, timeout=1.5) == 1
    assert len(given) == 1
    assert 0 < given[0] <= 1.35  # the rest is the disk's
