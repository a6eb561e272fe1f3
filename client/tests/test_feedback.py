"""Feedback is on disk before the call returns, and is sent, kept and dropped like runs."""

from __future__ import annotations

import json
import os
import threading
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest
from client.tests.helpers.portal import Answer
from client.tests.helpers.processes import PATIENCE, every_instant, fork, was_killed

from vigie_client import FeedbackClient, SpoolLimits, flush_spool, make_session, spool_payload, spool_stats
from vigie_client.http.times import parse_time
from vigie_client.report.senders import FEEDBACK_PATH, FeedbackSender

CAROL = "carol@example.org"
TOKEN_LIKE = "vigie_client_0123456789ab_secret"


@pytest.fixture
def client(portal: Any, token: str, spool: Path) -> Callable[..., FeedbackClient]:
    """Return a factory of clients without background delivery, at a portal that records everything."""
    portal.answer_with(FEEDBACK_PATH, lambda body: record_feedback(portal, body))

    def make(**options: Any) -> FeedbackClient:
        options = {"spool_path": spool, "timeout": PATIENCE, "deliver_after": 600, **options}
        return FeedbackClient(portal.url, make_session(token), **options)

    return make


class RecordingLogger:
    """Collects messages. The package's own logger would also receive those of other tests' threads."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, _: int, message: str, *values: Any) -> None:
        self.lines.append(message % values)


def record_feedback(portal: Any, body: Any) -> Any:
    known = body["id"] in portal.events
    portal.events[body["id"]] = body
    return Answer(200 if known else 201, {"status": "duplicate" if known else "recorded", "id": body["id"]})


def waiting_feedback(spool: Path) -> list[dict[str, Any]]:
    lines = spool.read_text().splitlines() if spool.exists() else []
    return [json.loads(line)["feedback"] for line in lines if not line.startswith("#")]


def comments(sent: list[dict[str, Any]]) -> list[str]:
    return [each["comment"] for each in sent]


def quarantined(spool: Path) -> list[tuple[str, str, int]]:
    records = map(json.loads, Path(f"{spool}.quarantine").read_text().splitlines())
    return [(each["payload"]["feedback"]["comment"], each["code"], each["status"]) for each in records]


def test_feedback_is_on_disk_before_it_is_sent(client: Any, portal: Any, spool: Path) -> None:
    feedback = client(programme="spring-beta", app_version="6.0.3")
    options = {"type": "bug", "severity": "high", "nps_score": 6, "comment": "It hangs.", "page": "/scoring"}
    assert feedback.send(" Carol@Example.org\t", **options) is True
    (sent,) = waiting_feedback(spool)
    assert uuid.UUID(sent.pop("id")).version == 4
    assert timedelta(0) <= datetime.now(timezone.utc) - parse_time(sent.pop("given_at")) < timedelta(minutes=1)
    assert sent == {"programme": "spring-beta", "app_version": "6.0.3", "participant": CAROL, **options}
    assert portal.requests == []


def test_empty_fields_are_not_sent(client: Any, spool: Path) -> None:
    client().send(CAROL, nps_score=0, type="", severity="")
    assert set(waiting_feedback(spool)[0]) == {"id", "given_at", "participant", "nps_score"}


def test_feedback_is_sent_in_order_with_the_token(client: Any, portal: Any, spool: Path, token: str) -> None:
    feedback = client()
    for comment in "abc":
        feedback.send(CAROL, comment=comment)
    assert feedback.flush() == 3
    assert comments(portal.sent_to(FEEDBACK_PATH)) == ["a", "b", "c"]
    assert all(body["sent_at"] >= body["given_at"] for body in portal.sent_to(FEEDBACK_PATH))
    assert {headers["Authorization"] for _, headers, _ in portal.requests} == {f"Bearer {token}"}
    assert not spool.exists()


def test_id_is_unique_and_kept_for_retries(client: Any, portal: Any, spool: Path, answer: Any) -> None:
    feedback = client()
    for _ in range(5):
        feedback.send(CAROL, comment="x")
    ids = [sent["id"] for sent in waiting_feedback(spool)]
    portal.answer_with(FEEDBACK_PATH, answer(503, {}), lambda body: record_feedback(portal, body))
    feedback.flush()
    assert feedback.flush(force=True) == 5
    assert len(set(ids)) == 5
    assert set(portal.events) == set(ids)


def test_with_block_waits_for_the_delivery(client: Any, portal: Any) -> None:
    with client() as feedback:
        feedback.send(CAROL, comment="x")
    assert comments(list(portal.events.values())) == ["x"]


def record_and_signal(arrived_event: threading.Event, portal: Any) -> Any:
    """Return a portal that records feedback and sets the event."""

    def answer(body: Any) -> Any:
        arrived_event.set()
        return record_feedback(portal, body)

    return answer


def test_feedback_is_delivered_in_the_background(client: Any, portal: Any) -> None:
    arrived_event = threading.Event()
    portal.answer_with(FEEDBACK_PATH, record_and_signal(arrived_event, portal))
    client(deliver_after=0).send(CAROL, comment="x")
    assert arrived_event.wait(PATIENCE)


def test_failed_delivery_is_retried_in_the_background(client: Any, portal: Any, answer: Any) -> None:
    arrived_event = threading.Event()
    portal.answer_with(FEEDBACK_PATH, answer(503, {}), record_and_signal(arrived_event, portal))
    client(deliver_after=0).send(CAROL, comment="x")
    assert arrived_event.wait(PATIENCE)


def test_hanging_portal_does_not_block_the_program(client: Any, portal: Any, spool: Path, answer: Any) -> None:
    portal.answer_with(FEEDBACK_PATH, lambda _: portal.over.wait() and answer(503, {}))
    feedback = client(timeout=600, deliver_after=0)
    assert all(feedback.send(CAROL, comment=comment) for comment in "ab")
    assert comments(waiting_feedback(spool)) == ["a", "b"]


@pytest.mark.parametrize("status", [200, 201])
def test_recorded_feedback_leaves_the_spool(client: Any, portal: Any, spool: Path, answer: Any, status: int) -> None:
    feedback = client()
    feedback.send(CAROL, comment="x")
    portal.answer_with(FEEDBACK_PATH, lambda body: answer(status, {"status": "recorded", "id": body["id"]}))
    assert feedback.flush() == 1
    assert (spool_stats(spool).pending, spool_stats(spool).quarantined) == (0, 0)


@pytest.mark.parametrize(("status", "code"), [(409, "feedback_conflict"), (404, "programme_unknown")])  # fmt: skip
def test_refused_feedback_is_quarantined_and_the_next_is_delivered(
    client: Any, portal: Any, spool: Path, answer: Any, status: int, code: str
) -> None:
    feedback = client()
    for comment in "ab":
        feedback.send(CAROL, comment=comment)
    portal.answer_with(FEEDBACK_PATH, answer(status, {"code": code}), lambda body: record_feedback(portal, body))
    assert feedback.flush() == 1
    assert quarantined(spool) == [("a", code, status)]
    assert comments(list(portal.events.values())) == ["b"]


@pytest.mark.parametrize("status", [302, 401, 429, 503])
def test_transient_failure_keeps_feedback_and_pauses(
    client: Any, portal: Any, spool: Path, answer: Any, status: int
) -> None:
    feedback = client()
    for comment in "ab":
        feedback.send(CAROL, comment=comment)
    portal.answer_with(FEEDBACK_PATH, answer(status, {}, {"Retry-After": "3000"}))
    assert (feedback.flush(), feedback.flush()) == (0, 0)
    assert sorted(comments(waiting_feedback(spool))) == ["a", "b"]
    assert len(portal.sent_to(FEEDBACK_PATH)) == 1
    assert spool_stats(spool).retry_at is not None


@pytest.mark.parametrize("body", [b"<h1>404</h1>", {"code": "not_found"}])
def test_foreign_404_keeps_feedback(client: Any, portal: Any, spool: Path, answer: Any, body: Any) -> None:
    """Neither a proxy nor an older portal knows the path."""
    feedback = client()
    feedback.send(CAROL, comment="x")
    portal.answer_with(FEEDBACK_PATH, answer(404, body), lambda body: record_feedback(portal, body))
    assert feedback.flush() == 0
    assert comments(waiting_feedback(spool)) == ["x"]
    assert feedback.flush(force=True) == 1


def test_feedback_that_breaks_the_portal_blocks_no_other(client: Any, portal: Any, spool: Path, answer: Any) -> None:
    feedback = client()
    for comment in ("poison", "b"):
        feedback.send(CAROL, comment=comment)
    portal.answer_with(
        FEEDBACK_PATH, lambda body: answer(500, {}) if body["comment"] == "poison" else record_feedback(portal, body)
    )
    assert sum(feedback.flush(force=True) for _ in range(2)) == 1
    assert comments(waiting_feedback(spool)) == ["poison"]


@pytest.mark.parametrize("broken", ["reset", "hang"])
def test_missing_answer_keeps_feedback(
    client: Any, portal: Any, spool: Path, answer: Any, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "reset":
        portal.close()
    else:
        portal.answer_with(FEEDBACK_PATH, lambda _: portal.over.wait() and answer(503, {}))
    feedback = client(timeout=0.2)
    feedback.send(CAROL, comment="x")
    assert feedback.flush() == 0
    assert comments(waiting_feedback(spool)) == ["x"]


@pytest.mark.parametrize(
    "fields",
    [{}, {"comment": " \n"}, {"comment": 7}, {"nps_score": True}, {"comment": "x", "nps_score": 11}, {"comment": "x", "type": "praise"},
     {"comment": "x", "severity": "huge"}, {"comment": "x", "type": []}],
)  # fmt: skip
def test_invalid_feedback_is_refused(client: Any, spool: Path, fields: dict[str, Any]) -> None:
    assert client().send(CAROL, **fields) is False
    assert list(spool.parent.iterdir()) == []


@pytest.mark.parametrize("participant", [None, " ", "x" * 255, TOKEN_LIKE])
def test_feedback_without_a_valid_participant_is_refused_and_logged(client: Any, spool: Path, participant: Any) -> None:
    logger = RecordingLogger()
    assert client(logger=logger).send(participant, comment="secret") is False
    assert list(spool.parent.iterdir()) == []
    assert logger.lines == ["feedback isn't accepted: no participant"]


def test_lowest_and_highest_score_are_valid(client: Any, spool: Path) -> None:
    assert all(client().send(CAROL, nps_score=score) for score in (0, 10))
    assert [sent["nps_score"] for sent in waiting_feedback(spool)] == [0, 10]


@pytest.mark.parametrize(
    ("options", "kept"),
    [({"page": "/x?name=secret"}, ("page", "/x")), ({"page": "/x#secret"}, ("page", "/x")), ({"page": "/" + "a" * 300}, ("page", "/" + "a" * 199)),
     ({"comment": "é" * 100_001}, ("comment", "é" * 100_000))],
)  # fmt: skip
def test_long_fields_are_cut(client: Any, spool: Path, options: dict[str, Any], kept: tuple[str, str]) -> None:
    assert client(app_version="6" * 65).send(CAROL, **{"comment": "x", **options})
    (sent,) = waiting_feedback(spool)
    assert sent[kept[0]] == kept[1]
    assert sent["app_version"] == "6" * 64


@pytest.mark.parametrize("comment", ["😀" * 100_000, "\x00" * 100_000, "\ud800" * 100_000])
def test_longest_feedback_fits_one_call(client: Any, portal: Any, comment: str) -> None:
    feedback = client(programme="p" * 100)
    assert feedback.send("é" * 254, comment=comment, page="é" * 200)
    assert feedback.flush() == 1
    ((_, headers, body),) = portal.requests
    assert 500 * 1024 < int(headers["Content-Length"]) < 900 * 1024
    assert comment.startswith(body["comment"])


def test_numeric_version_is_sent_as_text(client: Any, spool: Path) -> None:
    assert client(app_version=6.1).send(CAROL, comment="x")
    assert waiting_feedback(spool)[0]["app_version"] == "6.1"


@pytest.mark.parametrize(("page", "version"), [(None, None), (7, object()), ("?secret", " "), ("", "")])
def test_empty_page_and_version_are_left_out(client: Any, spool: Path, page: Any, version: Any) -> None:
    assert client(app_version=version).send(CAROL, comment="x", page=page)
    assert not {"page", "app_version"} & set(waiting_feedback(spool)[0])


def test_opt_out_writes_and_sends_nothing(
    client: Any, portal: Any, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIE_TELEMETRY", "off")
    logger = RecordingLogger()
    with client(logger=logger) as feedback:
        assert feedback.send(CAROL, comment="x") is False
        assert feedback.flush(force=True) == 0
    assert (list(spool.parent.iterdir()), portal.requests, logger.lines) == ([], [], [])


def test_foreign_lines_in_the_spool_are_quarantined(client: Any, portal: Any, spool: Path, run: Any) -> None:
    for stray in (run("a"), {"feedback": "x"}):
        spool_payload(spool, stray)
    with spool.open("a") as file:
        file.write('{"feedback": {"id": NaN}}\n')
    assert client().flush() == 0
    assert portal.requests == []
    assert spool_stats(spool).quarantined == 3


def test_oldest_feedback_is_dropped_beyond_max_runs(client: Any, spool: Path) -> None:
    feedback = client(limits=SpoolLimits(max_runs=3))
    assert all(feedback.send(CAROL, comment=comment) for comment in "abcde")
    assert comments(waiting_feedback(spool)) == ["c", "d", "e"]


def test_expired_feedback_is_dropped(client: Any, portal: Any, spool: Path, answer: Any) -> None:
    feedback = client(limits=SpoolLimits(max_age_seconds=-1))
    feedback.send(CAROL, comment="x")
    portal.answer_with(FEEDBACK_PATH, answer(503, {}))
    feedback.flush()
    assert spool_stats(spool).dropped["age"] == 1


def test_feedback_is_sent_directly_if_the_disk_fails(client: Any, portal: Any, tmp_path: Path, answer: Any) -> None:
    (tmp_path / "file").write_text("")
    with client(spool_path=tmp_path / "file" / "spool") as feedback:
        assert feedback.send(CAROL, comment="x") is True
        assert comments(list(portal.events.values())) == ["x"]
        portal.answer_with(FEEDBACK_PATH, answer(503, {}))
        assert feedback.send(CAROL, comment="y") is False
        assert feedback.flush() == 0


@pytest.mark.parametrize("broken", ["uuid.uuid4", "refusal_reason"])
def test_internal_failure_is_logged_without_the_comment(
    client: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(f"vigie_client.report.feedback.{broken}", fail)
    logger = RecordingLogger()
    assert client(logger=logger).send(CAROL, comment="secret") is False
    assert logger.lines == ["feedback can't be recorded: RuntimeError"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and SIGKILL")
def test_killed_program_loses_no_feedback(client: Any, portal: Any, tmp_path: Path) -> None:
    def scene(stage: Path, instant: int) -> bool:
        spool = stage / "spool"
        safe = [f"{instant}a", f"{instant}b"]
        assert all(client(spool_path=spool).send(CAROL, comment=comment) for comment in safe)

        def die() -> None:
            feedback = client(spool_path=spool)
            feedback.send(CAROL, comment=f"{instant}c")
            feedback.flush()

        killed = was_killed(fork(die, instant))
        client(spool_path=spool).flush(force=True)
        arrived = [comment for comment in comments(list(portal.events.values())) if comment[:-1] == str(instant)]
        assert arrived[:2] == safe
        assert killed or len(arrived) == 3
        assert len(arrived) == len(set(arrived))
        assert spool_stats(spool).pending == 0
        return killed

    assert every_instant(tmp_path, scene) > 8


def test_concurrent_programs_send_feedback_once(client: Any, portal: Any, spool: Path, token: str) -> None:
    """The second flush starts while the portal handles the feedback of the first."""
    late: list[int] = []

    def answer_late(body: Any) -> Any:
        late.append(flush_spool(spool, FeedbackSender(portal.url, make_session(token), 20)))
        return record_feedback(portal, body)

    client().send(CAROL, comment="x")
    portal.answer_with(FEEDBACK_PATH, answer_late)
    assert client().flush() == 1
    assert late == [0]
