"""Events of activity are spooled, sent, quarantined and dropped like runs."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import pytest
from client.tests.helpers.processes import PATIENCE, every_instant, fork, was_killed

from vigie_client import ActivityTracker, SpoolLimits, flush_spool, make_session, spool_payload, spool_stats
from vigie_client.report.senders import LISTS, ActivitySender

EVENTS = "/api/v1/usage/events"


@pytest.fixture
def track(portal: Any, token: str, spool: Path) -> Callable[..., ActivityTracker]:
    """Return a factory of trackers without background delivery during a test."""

    def make(**options: Any) -> ActivityTracker:
        options = {"spool_path": spool, "timeout": PATIENCE, "deliver_after": 600, **options}
        return ActivityTracker(portal.url, make_session(token), "bob@example.org", **options)

    return make


def note(tracker: ActivityTracker, *names: str) -> None:
    for name in names:
        tracker.error(name)


def names_in(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["event"]["error_type"] for line in lines if not line.startswith("#")]


def quarantined(spool: Path) -> list[tuple[str, str]]:
    records = map(json.loads, Path(f"{spool}.quarantine").read_text().splitlines())
    return [(record["payload"]["event"]["error_type"], record["code"]) for record in records]


def sent(portal: Any) -> list[str]:
    return [event["error_type"] for body in portal.sent_to(EVENTS) for event in body["errors"]]


def test_call_has_at_most_500_events(portal: Any, track: Any, spool: Path) -> None:
    event = {"list": "features", "event": {"id": "a"}}
    spool.write_text("".join(json.dumps({**event, "event": {"id": str(number)}}) + "\n" for number in range(1100)))
    assert track().flush() == 1100
    assert [len(body["features"]) for body in portal.sent_to(EVENTS)] == [500, 500, 100]


def test_call_has_at_most_256_kib(portal: Any, track: Any, spool: Path) -> None:
    for number in range(12):
        event = {"id": str(number), "user_agent": "x" * 60_000}
        spool_payload(spool, {"list": "sessions", "event": event})
    assert track().flush() == 12
    sizes = [int(headers["Content-Length"]) for path, headers, _ in portal.requests if path == EVENTS]
    assert len(sizes) == 3
    assert max(sizes) <= 256 * 1024


@pytest.mark.parametrize("status", [408, 429, 500, 503, 302, 401, 403])
def test_transient_failure_keeps_events(portal: Any, track: Any, spool: Path, answer: Any, status: int) -> None:
    tracker = track()
    note(tracker, "a", "b")
    portal.answer_with(EVENTS, answer(status, {}))
    assert tracker.flush() == 0
    assert sorted(names_in(spool)) == ["a", "b"]
    asked = len(portal.requests)
    assert (tracker.flush(), len(portal.requests)) == (0, asked)  # it pauses
    assert spool_stats(spool).retry_at is not None


@pytest.mark.parametrize(("status", "code"), [(400, "malformed_json"), (413, "body_too_large")])
def test_refused_batch_is_halved_down_to_the_invalid_event(
    portal: Any, track: Any, spool: Path, answer: Any, status: int, code: str
) -> None:
    tracker = track()
    note(tracker, *"abcd", "poison", *"efgh")

    def respond(body: Any) -> Any:
        poisoned = any(event["error_type"] == "poison" for event in body["errors"])
        return answer(status, {"code": code}) if poisoned else None

    portal.answer_with(EVENTS, respond)
    assert tracker.flush() == 8
    assert quarantined(spool) == [("poison", code)]
    assert not spool.exists()


@pytest.mark.parametrize("status", [401, 413, 502])
def test_retry_after_without_a_body_pauses_delivery(
    portal: Any, track: Any, spool: Path, answer: Any, status: int
) -> None:
    tracker = track()
    note(tracker, "a")
    portal.answer_with(EVENTS, answer(status, b"<html>", {"Content-Type": "text/html", "Retry-After": "3000"}))
    tracker.flush()
    stats = spool_stats(spool)
    assert (stats.pending, stats.quarantined) == (1, 0)
    assert stats.retry_at is not None
    assert stats.retry_at > time.time() + 2000


def test_each_event_has_its_own_result(portal: Any, track: Any, spool: Path, answer: Any) -> None:
    tracker = track()
    tracker.start_session()
    note(tracker, "recorded", "duplicate", "conflict")
    with tracker.feature("export"):
        pass
    note(tracker, "invalid", "odd")

    def respond(body: Any) -> Any:
        results = {name: [{"id": each["id"], "status": "recorded"} for each in body[name]] for name in LISTS}
        codes = {"conflict": "event_conflict", "invalid": "validation_failed"}
        for event, result in zip(body["errors"], results["errors"]):
            result.update(status=event["error_type"], code=codes.get(event["error_type"]))
        results["errors"][3]["id"] = None
        return answer(200, {"results": results, "dropped_keys": 0})

    portal.answer_with(EVENTS, respond)
    assert tracker.flush() == 4
    assert names_in(spool) == ["odd"]
    assert quarantined(spool) == [("conflict", "event_conflict"), ("invalid", "validation_failed")]


@pytest.mark.parametrize(
    "body",
    [b"not json", None, [], {}, {"results": []}, {"results": {}}, {"results": {"errors": {}}}, {"results": {"errors": []}},
     {"results": {"errors": [{"id": "another", "status": "recorded"}]}}, {"results": {"features": [{"status": "recorded"}]}}, {"results": {"errors": [7]}}],
)  # fmt: skip
def test_event_without_a_result_waits(portal: Any, track: Any, spool: Path, answer: Any, body: Any) -> None:
    tracker = track()
    note(tracker, "a")
    portal.answer_with(EVENTS, answer(200, body))
    assert tracker.flush() == 0
    assert names_in(spool) == ["a"]


def test_event_that_breaks_the_portal_blocks_no_other(portal: Any, track: Any, spool: Path, answer: Any) -> None:
    tracker = track()
    note(tracker, "a", "poison", "c")

    def break_down(body: Any) -> Any:
        if any(event["error_type"] == "poison" for event in body["errors"]):
            return answer(500, {})
        results = {"errors": [{"id": event["id"], "status": "recorded"} for event in body["errors"]]}
        return answer(200, {"results": results})

    portal.answer_with(EVENTS, break_down)
    assert sum(tracker.flush(force=True) for _ in range(2)) == 2
    assert names_in(spool) == ["poison"]


def test_run_in_an_activity_spool_is_quarantined(portal: Any, track: Any, spool: Path, run: Any) -> None:
    tracker = track()
    note(tracker, "a")
    for stray in (run("a"), {"list": "bodies", "event": {}}, {"list": "errors", "event": "x"}):
        spool_payload(spool, stray)
    with spool.open("a") as file:
        file.write('{"list": "errors", "event": {"id": NaN}}\n')
    assert tracker.flush() == 1
    assert sent(portal) == ["a"]
    assert spool_stats(spool).quarantined == 4


def test_oldest_events_are_dropped_and_counted_beyond_the_limits(track: Any, spool: Path) -> None:
    note(track(limits=SpoolLimits(max_runs=3)), *"abcde")
    assert names_in(spool) == ["c", "d", "e"]
    assert spool_stats(spool).dropped == {"age": 0, "count": 2, "bytes": 0, "quarantine": 0}


def test_expired_events_are_dropped_after_a_failed_delivery(portal: Any, track: Any, spool: Path, answer: Any) -> None:
    tracker = track(limits=SpoolLimits(max_age_seconds=-1))
    tracker.start_session()
    with tracker.feature("export"):
        pass
    note(tracker, "a")
    portal.answer_with(EVENTS, answer(503, {}))
    tracker.flush()
    assert spool_stats(spool).dropped["age"] == 3
    assert spool_stats(spool).pending == 0


def test_concurrent_flushers_send_each_event_once(portal: Any, track: Any, spool: Path, token: str) -> None:
    """The second flush starts while the portal handles the events of the first."""
    first, second = track(), ActivitySender(portal.url, make_session(token), 20)
    note(first, *"abc")
    late: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        answer = portal._answer

        def answer_late(*options: Any) -> Any:
            if not late:
                late.append(0)
                late[0] = flush_spool(spool, second)
            return answer(*options)

        patch.setattr(portal, "_answer", answer_late)
        assert first.flush() == 3
    assert late == [0]
    assert sorted(sent(portal)) == ["a", "b", "c"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and SIGKILL")
def test_killed_program_loses_no_event(tmp_path: Path, track: Any, portal: Any) -> None:
    def scene(stage: Path, instant: int) -> bool:
        spool = stage / "spool"
        note(track(spool_path=spool), f"e{instant}_a", f"e{instant}_b")

        def die() -> None:
            tracker = track(spool_path=spool)
            note(tracker, f"e{instant}_c")
            tracker.flush()

        killed = was_killed(fork(die, instant))
        track(spool_path=spool).flush(force=True)
        counts = Counter(event["error_type"] for event in portal.events.values())
        kept = {name for name in counts if name.startswith(f"e{instant}_")}
        assert {f"e{instant}_a", f"e{instant}_b"} <= kept
        assert killed or f"e{instant}_c" in kept
        assert spool_stats(spool).pending == 0
        return killed

    assert every_instant(tmp_path, scene) > 8
