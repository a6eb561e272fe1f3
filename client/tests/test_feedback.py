"""Feedback is safe on disk before the host goes on, and is sent, kept or given up by the rules of the spool."""

from __future__ import annotations

import json
import os
import threading
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest
from client.tests.killing import every_instant, fork, was_killed

from vigie_client import FeedbackClient, SpoolLimits, flush_spool, make_session, spool_payload, spool_stats
from vigie_client.http.times import parse_time
from vigie_client.report.feedback_calls import FEEDBACK_PATH, FeedbackCalls

CAROL = "carol@example.org"
TOKEN_LIKE = "vigie_client_0123456789ab_secret"


@pytest.fixture
def client(portal: Any, token: str, spool: Path) -> Callable[..., FeedbackClient]:
    """Makes one that delivers nothing by itself while a test lasts, at a portal that takes everything."""
    portal.answer_with(FEEDBACK_PATH, lambda body: taken(portal, body))

    def make(**options: Any) -> FeedbackClient:
        given = {"spool_path": spool, "timeout": 20, "deliver_after": 600, **options}
        return FeedbackClient(portal.url, make_session(token), **given)

    return make


class Heard:
    """A host's logger. The package's own hears of what the threads of other tests do, too."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, _: int, message: str, *values: Any) -> None:
        self.lines.append(message % values)


def taken(portal: Any, body: Any) -> Any:
    from client.tests.conftest import Answer  # noqa: PLC0415 - once the path is set

    known = body["id"] in portal.events
    portal.events[body["id"]] = body
    return Answer(200 if known else 201, {"status": "duplicate" if known else "recorded", "id": body["id"]})


def waiting(spool: Path) -> list[dict[str, Any]]:
    lines = spool.read_text().splitlines() if spool.exists() else []
    return [json.loads(line)["feedback"] for line in lines if not line.startswith("#")]


def comments(told: list[dict[str, Any]]) -> list[str]:
    return [each["comment"] for each in told]


def quarantined(spool: Path) -> list[tuple[str, str, int]]:
    records = map(json.loads, Path(f"{spool}.quarantine").read_text().splitlines())
    return [(each["payload"]["feedback"]["comment"], each["code"], each["status"]) for each in records]


def test_feedback_is_on_disk_before_it_is_sent(client: Any, portal: Any, spool: Path) -> None:
    feedback = client(programme="spring-beta", app_version="6.0.3")
    given = {"type": "bug", "severity": "high", "nps_score": 6, "comment": "It hangs.", "page": "/scoring"}
    assert feedback.send(" Carol@Example.org\t", **given) is True
    (told,) = waiting(spool)
    assert uuid.UUID(told.pop("id")).version == 4
    assert timedelta(0) <= datetime.now(timezone.utc) - parse_time(told.pop("given_at")) < timedelta(minutes=1)
    assert told == {"programme": "spring-beta", "app_version": "6.0.3", "participant": CAROL, **given}
    assert portal.requests == []


def test_empty_fields_are_not_sent(client: Any, spool: Path) -> None:
    client().send(CAROL, nps_score=0, type="", severity="")
    assert set(waiting(spool)[0]) == {"id", "given_at", "participant", "nps_score"}


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
    ids = [told["id"] for told in waiting(spool)]
    portal.answer_with(FEEDBACK_PATH, answer(503, {}), lambda body: taken(portal, body))
    feedback.flush()
    assert feedback.flush(force=True) == 5
    assert len(set(ids)) == 5
    assert set(portal.events) == set(ids)


def test_with_block_waits_for_the_delivery(client: Any, portal: Any) -> None:
    with client() as feedback:
        feedback.send(CAROL, comment="x")
    assert comments(list(portal.events.values())) == ["x"]


def announced(came: threading.Event, portal: Any) -> Any:
    """The portal takes it, and that it came is known."""

    def answer(body: Any) -> Any:
        came.set()
        return taken(portal, body)

    return answer


def test_feedback_is_delivered_in_the_background(client: Any, portal: Any) -> None:
    came = threading.Event()
    portal.answer_with(FEEDBACK_PATH, announced(came, portal))
    client(deliver_after=0).send(CAROL, comment="x")
    assert came.wait(20)


def test_failed_delivery_is_retried_in_the_background(client: Any, portal: Any, answer: Any) -> None:
    came = threading.Event()
    portal.answer_with(FEEDBACK_PATH, answer(503, {}), announced(came, portal))
    client(deliver_after=0).send(CAROL, comment="x")
    assert came.wait(20)


def test_hanging_portal_does_not_block_the_program(client: Any, portal: Any, spool: Path, answer: Any) -> None:
    portal.answer_with(FEEDBACK_PATH, lambda _: portal.over.wait() and answer(503, {}))
    feedback = client(timeout=600, deliver_after=0)
    assert all(feedback.send(CAROL, comment=comment) for comment in "ab")
    assert comments(waiting(spool)) == ["a", "b"]


@pytest.mark.parametrize("status", [200, 201])
def test_recorded_feedback_leaves_the_spool(client: Any, portal: Any, spool: Path, answer: Any, status: int) -> None:
    feedback = client()
    feedback.send(CAROL, comment="x")
    portal.answer_with(FEEDBACK_PATH, lambda body: answer(status, {"status": "recorded", "id": body["id"]}))
    assert feedback.flush() == 1
    assert (spool_stats(spool).pending, spool_stats(spool).quarantined) == (0, 0)


@pytest.mark.parametrize(("status", "code"), [(409, "feedback_conflict"), (400, "validation_failed"), (404, "programme_unknown"), (413, "body_too_large")])  # fmt: skip
def test_refused_feedback_is_quarantined_and_the_next_is_delivered(
    client: Any, portal: Any, spool: Path, answer: Any, status: int, code: str
) -> None:
    feedback = client()
    for comment in "ab":
        feedback.send(CAROL, comment=comment)
    portal.answer_with(FEEDBACK_PATH, answer(status, {"code": code}), lambda body: taken(portal, body))
    assert feedback.flush() == 1
    assert quarantined(spool) == [("a", code, status)]
    assert comments(list(portal.events.values())) == ["b"]


@pytest.mark.parametrize("status", [408, 429, 500, 503, 302, 401, 403])
def test_transient_failure_keeps_feedback_and_pauses(
    client: Any, portal: Any, spool: Path, answer: Any, status: int
) -> None:
    feedback = client()
    for comment in "ab":
        feedback.send(CAROL, comment=comment)
    portal.answer_with(FEEDBACK_PATH, answer(status, {}, {"Retry-After": "3000"}))
    assert (feedback.flush(), feedback.flush()) == (0, 0)
    assert sorted(comments(waiting(spool))) == ["a", "b"]
    assert len(portal.sent_to(FEEDBACK_PATH)) == 1
    assert spool_stats(spool).retry_at is not None


@pytest.mark.parametrize("body", [b"<h1>404</h1>", {}, {"code": "not_found"}, {"code": "no_such_app"}])
def test_foreign_404_keeps_feedback(client: Any, portal: Any, spool: Path, answer: Any, body: Any) -> None:
    """A proxy's page, or that of a portal that is yet to be upgraded."""
    feedback = client()
    feedback.send(CAROL, comment="x")
    portal.answer_with(FEEDBACK_PATH, answer(404, body), lambda body: taken(portal, body))
    assert feedback.flush() == 0
    assert comments(waiting(spool)) == ["x"]
    assert feedback.flush(force=True) == 1


def test_feedback_that_breaks_the_portal_blocks_no_other(client: Any, portal: Any, spool: Path, answer: Any) -> None:
    feedback = client()
    for comment in ("poison", "b"):
        feedback.send(CAROL, comment=comment)
    portal.answer_with(
        FEEDBACK_PATH, lambda body: answer(500, {}) if body["comment"] == "poison" else taken(portal, body)
    )
    assert sum(feedback.flush(force=True) for _ in range(2)) == 1
    assert comments(waiting(spool)) == ["poison"]


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
    assert comments(waiting(spool)) == ["x"]


@pytest.mark.parametrize(
    "said",
    [{}, {"comment": " \n"}, {"comment": None}, {"comment": 7}, {"nps_score": -1}, {"nps_score": 11}, {"nps_score": 7.0}, {"nps_score": True},
     {"nps_score": "7"}, {"comment": "x", "nps_score": 11}, {"comment": "x", "type": "praise"},
     {"comment": "x", "severity": "huge"}, {"comment": "x", "type": []}],
)  # fmt: skip
def test_invalid_feedback_is_refused(client: Any, spool: Path, said: dict[str, Any]) -> None:
    assert client().send(CAROL, **said) is False
    assert list(spool.parent.iterdir()) == []


@pytest.mark.parametrize(
    "participant",
    [None, "", " ", "\u202e", 7, "x" * 255, "İ" * 200, "carol\x00", "carol\ud800", "agent:pc-7", "ag\u200bent:pc-7", " Client : x", TOKEN_LIKE],
)  # fmt: skip
def test_feedback_without_a_valid_participant_is_refused_and_logged(client: Any, spool: Path, participant: Any) -> None:
    heard = Heard()
    assert client(logger=heard).send(participant, comment="secret") is False
    assert list(spool.parent.iterdir()) == []
    assert heard.lines == ["feedback isn't accepted: no participant"]


def test_lowest_and_highest_score_are_valid(client: Any, spool: Path) -> None:
    assert all(client().send(CAROL, nps_score=score) for score in (0, 10))
    assert [told["nps_score"] for told in waiting(spool)] == [0, 10]


@pytest.mark.parametrize(
    ("given", "kept"),
    [({"page": "/x?name=secret"}, ("page", "/x")), ({"page": "/x#secret"}, ("page", "/x")), ({"page": "/" + "a" * 300}, ("page", "/" + "a" * 199)),
     ({"comment": "é" * 100_001}, ("comment", "é" * 100_000))],
)  # fmt: skip
def test_long_fields_are_cut(client: Any, spool: Path, given: dict[str, Any], kept: tuple[str, str]) -> None:
    assert client(app_version="6" * 65).send(CAROL, **{"comment": "x", **given})
    (told,) = waiting(spool)
    assert told[kept[0]] == kept[1]
    assert told["app_version"] == "6" * 64


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
    assert waiting(spool)[0]["app_version"] == "6.1"


@pytest.mark.parametrize(("page", "version"), [(None, None), (7, object()), ("?secret", " "), ("", "")])
def test_empty_page_and_version_are_left_out(client: Any, spool: Path, page: Any, version: Any) -> None:
    assert client(app_version=version).send(CAROL, comment="x", page=page)
    assert not {"page", "app_version"} & set(waiting(spool)[0])


def test_opt_out_writes_and_sends_nothing(
    client: Any, portal: Any, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIE_TELEMETRY", "off")
    heard = Heard()
    with client(logger=heard) as feedback:
        assert feedback.send(CAROL, comment="x") is False
        assert feedback.flush(force=True) == 0
    assert (list(spool.parent.iterdir()), portal.requests, heard.lines) == ([], [], [])


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
    assert comments(waiting(spool)) == ["c", "d", "e"]


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


@pytest.mark.parametrize("broken", ["uuid.uuid4", "format_now", "cut_comment", "refusal_reason"])
def test_internal_failure_is_logged_without_the_comment(
    client: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(f"vigie_client.report.feedback.{broken}", fail)
    heard = Heard()
    assert client(logger=heard).send(CAROL, comment="secret") is False
    assert heard.lines == ["feedback can't be recorded: RuntimeError"]


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
    """The second one comes while the first one's feedback is in the portal's hands."""
    late: list[int] = []

    def answer_late(body: Any) -> Any:
        late.append(flush_spool(spool, FeedbackCalls(portal.url, make_session(token), 20)))
        return taken(portal, body)

    client().send(CAROL, comment="x")
    portal.answer_with(FEEDBACK_PATH, answer_late)
    assert client().flush() == 1
    assert late == [0]
