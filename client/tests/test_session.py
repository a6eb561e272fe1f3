from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import requests
from client.tests.helpers.processes import PATIENCE

from vigie_client import (
    ActivityTracker,
    Credentials,
    FeedbackClient,
    HeartbeatThread,
    TokenStore,
    UsageReporter,
    make_session,
)

ELSEWHERE = "/elsewhere"


def test_redirect_with_the_token_is_not_followed(portal: Any, answer: Any, token: str) -> None:
    portal.answer_with("/here", answer(307, {}, {"Location": portal.url.replace("127.0.0.1", "localhost") + ELSEWHERE}))
    assert make_session(token).post(portal.url + "/here", json={}).status_code == 307
    assert portal.sent_to(ELSEWHERE) == []


def test_netrc_does_not_replace_the_token(
    portal: Any, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    make_session(token).post(portal.url, json={"run_id": "a"})
    assert portal.requests[0][1]["Authorization"] == f"Bearer {token}"


def test_proxies_come_from_the_environment(token: str) -> None:
    assert make_session(token).trust_env is True


@pytest.mark.parametrize("bad", ["", "  ", "two words", "line\nbreak", "é", "a" * 513, None, 3])
def test_invalid_token_is_refused_without_repeating_it(bad: Any) -> None:
    with pytest.raises(ValueError) as caught:
        make_session(bad)
    assert not bad or not str(bad).strip() or str(bad) not in str(caught.value)


def test_line_end_of_a_token_file_is_tolerated(token: str) -> None:
    request = requests.Request("POST", "http://portal").prepare()
    session = make_session(token + "\r\n")
    assert callable(session.auth)
    assert session.auth(request).headers["Authorization"] == f"Bearer {token}"


def test_repr_of_a_session_shows_no_token(token: str) -> None:
    session = make_session(token)
    assert token not in repr(session) + repr(session.auth) + repr(session.headers)


@pytest.mark.parametrize(
    ("given", "environment", "used"),
    [
        ("own.pem", "theirs.pem", "own.pem"),
        (False, "theirs.pem", False),
        (True, "theirs.pem", True),
        (None, "theirs.pem", "theirs.pem"),
        ("own.pem", None, "own.pem"),
        (None, None, True),
    ],
)
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_explicit_verify_has_priority_over_the_environment(
    token: str, monkeypatch: pytest.MonkeyPatch, name: str, given: Any, environment: Any, used: Any
) -> None:
    for known in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(known, raising=False)
    if environment:
        monkeypatch.setenv(name, environment)
    seen: list[Any] = []

    def send(_: Any, request: Any, **options: Any) -> requests.Response:
        seen.append(options["verify"])
        response = requests.Response()
        response.status_code, response.request = 200, request
        return response

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    make_session(token, verify=given).post("https://portal.example", json={})
    assert seen == [used]


def test_unpickled_session_trusts_the_same_ca_file(token: str) -> None:
    copied = pickle.loads(pickle.dumps(make_session(token, verify="own.pem")))
    assert copied.merge_environment_settings("https://portal.example", {}, None, None, None)["verify"] == "own.pem"


OLD, NEW = Credentials("pc", "vigie_agent_old"), Credentials("pc", "vigie_agent_new")
CALLS = {
    "heartbeat": "/api/v1/agents/heartbeat",
    "report": "/api/v1/usage/report",
    "activity": "/api/v1/usage/events",
    "feedback": "/api/v1/beta/feedback",
}


def call(name: str, url: str, store: TokenStore, spool: Path) -> None:
    """Make one call with the token in `store`, ignoring pauses."""
    options: Any = {"spool_path": spool, "timeout": PATIENCE, "deliver_after": 600}
    if name == "heartbeat":
        HeartbeatThread(url, make_session(store), timeout=PATIENCE).beat()
    elif name == "report":
        reporter = UsageReporter(url, store, **options)
        reporter.report({"run_id": "a"})
        reporter.flush(force=True)
    elif name == "activity":
        tracker = ActivityTracker(url, store, "bob@example.org", **options)
        tracker.error("x")
        tracker.flush(force=True)
    else:
        feedback = FeedbackClient(url, store, **options)
        feedback.send("carol", comment="x")
        feedback.flush(force=True)


@pytest.mark.parametrize("name", CALLS)
def test_call_sends_the_current_token_of_the_store(portal: Any, answer: Any, tmp_path: Path, name: str) -> None:
    store = TokenStore(tmp_path / "state")
    portal.answer_with(CALLS[name], answer(401, {"code": "token_expired"}))
    call(name, portal.url, store, tmp_path / "unenrolled")
    assert portal.requests == []  # before the machine is enrolled there is no token to send
    for credentials in (OLD, NEW):
        store.save(credentials)
        call(name, portal.url, store, tmp_path / credentials.api_token)
    sent = [headers["Authorization"] for path, headers, _ in portal.requests if path == CALLS[name]]
    assert sent == ["Bearer vigie_agent_old", "Bearer vigie_agent_new"]


def test_program_goes_on_after_a_rotation(portal: Any, answer: Any, tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.save(OLD)
    beating = HeartbeatThread(portal.url, make_session(store), timeout=PATIENCE)
    portal.answer_with(CALLS["heartbeat"], answer(401, {}), answer(200, {"next_heartbeat_seconds": 312}))
    beating.beat()
    store.save(NEW)
    assert beating.beat() == 312
    assert portal.requests[-1][1]["Authorization"] == "Bearer vigie_agent_new"
