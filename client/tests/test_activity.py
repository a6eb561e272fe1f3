"""The activity tracker records sessions, features and errors, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client import ActivityTracker, SpoolStats, __version__, make_session, spool_stats
from vigie_client.http.times import parse_time
from vigie_client.report.senders import LISTS

EVENTS = "/api/v1/usage/events"
TOKEN_LIKE = "vigie_client_0123456789ab_secret"


@pytest.fixture
def tracker(portal: Any, token: str, spool: Path) -> ActivityTracker:
    """Return a tracker without background delivery during a test."""
    return ActivityTracker(
        portal.url, make_session(token), "bob@example.org", spool_path=spool, timeout=PATIENCE, deliver_after=600
    )


@pytest.fixture
def waiting_events(spool: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Return a function that reads the waiting events of one list."""

    def events(name: str) -> list[dict[str, Any]]:
        lines = spool.read_text().splitlines() if spool.exists() else []
        payloads = [json.loads(line) for line in lines if not line.startswith("#")]
        return [payload["event"] for payload in payloads if payload["list"] == name]

    return events


def test_session_is_recorded_at_its_start_and_at_its_end(tracker: ActivityTracker, waiting_events: Any) -> None:
    tracker.start_session()
    (started,) = waiting_events("sessions")
    assert started["session_end"] is None
    tracker.end_session()
    assert waiting_events("sessions")[1] == {**started, "session_end": waiting_events("sessions")[1]["session_end"]}
    assert parse_time(waiting_events("sessions")[1]["session_end"]) >= parse_time(started["session_start"])
    assert (started["user_email"], started["user_agent"]) == ("bob@example.org", f"vigie-client/{__version__}")


def test_with_block_sends_start_and_end_of_a_session(
    tracker: ActivityTracker, waiting_events: Any, portal: Any
) -> None:
    with pytest.raises(ZeroDivisionError), tracker:
        1 / len(waiting_events("features"))
    events_sent = [event for body in portal.sent_to(EVENTS) for event in body["sessions"]]
    assert [bool(event["session_end"]) for event in events_sent] == [False, True]


def test_new_session_ends_the_open_one(tracker: ActivityTracker, waiting_events: Any) -> None:
    tracker.end_session()
    assert waiting_events("sessions") == []
    tracker.start_session()
    tracker.start_session()
    tracker.end_session()
    tracker.end_session()
    first, ended, second, ended_too = waiting_events("sessions")
    assert (first["id"], second["id"]) == (ended["id"], ended_too["id"])
    assert first["id"] != second["id"]


def test_session_length_ignores_a_changed_wall_clock(
    tracker: ActivityTracker, waiting_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.start_session()
    ahead = time.monotonic() + 90
    monkeypatch.setattr("vigie_client.report.activity.monotonic", lambda: ahead)
    monkeypatch.setattr("vigie_client.report.activity._now", lambda: datetime(2001, 1, 1, tzinfo=timezone.utc))
    tracker.end_session()
    event = waiting_events("sessions")[1]
    lasted = parse_time(event["session_end"]) - parse_time(event["session_start"])
    assert timedelta(seconds=80) < lasted < timedelta(seconds=100)


def test_feature_use_is_recorded_with_its_duration(
    tracker: ActivityTracker, waiting_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([100.0, 100.25])
    monkeypatch.setattr("vigie_client.report.features.monotonic", lambda: next(moments))
    with tracker.feature("document upload", endpoint="/api/documents?name=secret.pdf"):
        pass
    (event,) = waiting_events("features")
    assert re.fullmatch(r"[0-9a-f]{32}", event.pop("id"))
    assert parse_time(event.pop("timestamp")) <= datetime.now(timezone.utc)
    assert event == {
        "user_email": "bob@example.org",
        "feature_name": "document upload",
        "endpoint": "/api/documents",
        "success": True,
        "duration_ms": 250,
    }
    assert waiting_events("errors") == []


def test_exception_passes_through_and_only_its_class_is_recorded(tracker: ActivityTracker, waiting_events: Any) -> None:
    class TheirError(Exception):
        pass

    error = TheirError("C:\\secret.pdf")
    with pytest.raises(TheirError) as caught, tracker.feature("export", endpoint="/export"):
        raise error
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert [event["success"] for event in waiting_events("features")] == [False]
    (error_event,) = waiting_events("errors")
    assert (error_event["error_type"], error_event["endpoint"]) == ("TheirError", "/export")
    assert (error_event["method"], error_event["error_code"]) == (None, None)
    assert "secret" not in json.dumps([waiting_events("features"), waiting_events("errors")])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_interrupted_feature_is_recorded_as_failed(
    tracker: ActivityTracker, waiting_events: Any, error: BaseException
) -> None:
    with pytest.raises(type(error)), tracker.feature("export"):
        raise error
    assert [event["success"] for event in waiting_events("features")] == [False]
    assert [event["error_type"] for event in waiting_events("errors")] == [type(error).__name__]


def test_features_can_be_nested(tracker: ActivityTracker, waiting_events: Any) -> None:
    outer = tracker.feature("outer")
    with outer, tracker.feature("inner"), outer:
        pass
    assert [event["feature_name"] for event in waiting_events("features")] == ["outer", "inner", "outer"]


def test_error_is_recorded_without_its_text(tracker: ActivityTracker, waiting_events: Any) -> None:
    tracker.error(ValueError("secret"), endpoint="/api/documents#secret", method="post", code=400)
    (event,) = waiting_events("errors")
    assert (event["error_type"], event["error_code"]) == ("ValueError", 400)
    assert (event["endpoint"], event["method"]) == ("/api/documents", "POST")


@pytest.mark.parametrize(
    ("error", "name"),
    [(ValueError, "ValueError"), ("upload_failed", "upload_failed"), ("no such file: secret.pdf", "Exception"), ("secret.pdf", "Exception"), ("42", "Exception"),
     (TOKEN_LIKE, "Exception"), (None, "Exception"), (type("Érreur", (Exception,), {})("x"), "Exception")],
)  # fmt: skip
def test_error_that_is_not_a_class_name_becomes_exception(
    tracker: ActivityTracker, waiting_events: Any, error: Any, name: str
) -> None:
    tracker.error(error)
    assert [event["error_type"] for event in waiting_events("errors")] == [name]


@pytest.mark.parametrize("name", ["secret.pdf", " ", TOKEN_LIKE, "é", None, object()])
def test_invalid_feature_name_becomes_unnamed(tracker: ActivityTracker, waiting_events: Any, name: Any) -> None:
    with tracker.feature(name):
        pass
    assert [event["feature_name"] for event in waiting_events("features")] == ["unnamed"]


@pytest.mark.parametrize(
    "endpoint", ["C:/Users/bob/secret.pdf", "https://bob:secret@example.org/", "?secret", "", 7, f"/x/{TOKEN_LIKE}", "/" + "a" * 200]
)  # fmt: skip
def test_invalid_route_is_left_out(tracker: ActivityTracker, waiting_events: Any, endpoint: Any) -> None:
    tracker.error("x", endpoint=endpoint)
    assert [event["endpoint"] for event in waiting_events("errors")] == [None]


@pytest.mark.parametrize("address", ["/users/8291", "/users/secret.pdf"])
def test_parameter_values_in_a_route_are_not_written_to_disk(
    tracker: ActivityTracker, waiting_events: Any, address: str
) -> None:
    tracker.error("x", endpoint=address)
    assert [event["endpoint"] for event in waiting_events("errors")] == [re.sub(r"[^/]+$", "{id}", address)]


@pytest.mark.parametrize("code", [400, "400", 400.0])
def test_error_code_of_another_type_is_converted(tracker: ActivityTracker, waiting_events: Any, code: Any) -> None:
    tracker.error("x", code=code)
    assert waiting_events("errors")[0]["error_code"] == 400


def test_only_the_first_invalid_feature_name_is_logged(
    tracker: ActivityTracker, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("export", "Éxport", "secret.pdf"):
        with tracker.feature(name):
            pass
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("a feature's name becomes unnamed: 1 to 128 of")


@pytest.mark.parametrize(("method", "code"), [("POST /secret", "4xx"), (7, True), (object(), -1), ("", 4.5)])
def test_invalid_method_and_code_are_left_out(
    tracker: ActivityTracker, waiting_events: Any, method: Any, code: Any
) -> None:
    tracker.error("x", method=method, code=code)
    assert [(event["method"], event["error_code"]) for event in waiting_events("errors")] == [(None, None)]


@pytest.mark.parametrize(
    "user_email",
    [None, "", "bob", 7, f"{TOKEN_LIKE}@x.org"],
)
def test_nothing_is_recorded_without_a_valid_email_address(
    portal: Any, token: str, spool: Path, user_email: Any
) -> None:
    with ActivityTracker(portal.url, make_session(token), user_email, spool_path=spool) as tracker:
        with tracker.feature("export"):
            pass
        tracker.error("x")
    assert list(spool.parent.iterdir()) == []
    assert portal.requests == []


@pytest.mark.parametrize(("user_email", "lines"), [("bob secret@example.org", 1), (None, 0), ("bob@intranet", 0)])
def test_invalid_email_address_is_logged_once(
    portal: Any, spool: Path, caplog: pytest.LogCaptureFixture, user_email: Any, lines: int
) -> None:
    tracker = ActivityTracker(portal.url, None, user_email, spool_path=spool, deliver_after=600)
    tracker.error("x")
    tracker.error("y")
    assert len(caplog.messages) == lines
    assert "secret" not in caplog.text


def test_failed_delivery_is_retried_without_another_event(portal: Any, token: str, spool: Path, answer: Any) -> None:
    recorded = threading.Event()

    def record_all(body: Any) -> Any:
        recorded.set()
        results = {name: [{"id": each["id"], "status": "recorded"} for each in body[name]] for name in body}
        return answer(200, {"results": results, "dropped_keys": 0})

    portal.answer_with(EVENTS, answer(503, {}), record_all)
    options: dict[str, Any] = {"spool_path": spool, "timeout": PATIENCE, "deliver_after": 0}
    tracker = ActivityTracker(portal.url, make_session(token), "bob@example.org", **options)
    tracker.error("x")
    assert recorded.wait(PATIENCE)


@pytest.mark.parametrize(("seconds", "pause"), [(-5, 1.0), (60, 60.0), (86_400, 300.0), (None, 5.0)])
def test_retry_waits_for_the_end_of_the_pause(
    tracker: ActivityTracker, spool: Path, monkeypatch: pytest.MonkeyPatch, seconds: Any, pause: float
) -> None:
    stats = SpoolStats(1, 1, 1, None if seconds is None else 1000.0 + seconds, 0, {})
    monkeypatch.setattr("vigie_client.spool.background.spool_stats", lambda _: stats)
    monkeypatch.setattr("vigie_client.spool.background.time", lambda: 1000.0)
    assert tracker._spool.deliver() == pause
    monkeypatch.setattr("vigie_client.spool.background.spool_stats", lambda _: stats._replace(pending=0))
    assert tracker._spool.deliver() is None
    monkeypatch.setattr("vigie_client.spool.background.spool_stats", Raising())
    assert tracker._spool.deliver() == 300.0
    monkeypatch.setenv("VIGIE_TELEMETRY", "off")
    assert tracker._spool.deliver() is None


def test_flush_delivers_recorded_events(portal: Any, tracker: ActivityTracker, spool: Path, token: str) -> None:
    tracker.start_session()
    with pytest.raises(ValueError), tracker.feature("export"):
        raise ValueError
    assert tracker.flush() == 3
    ((path, headers, body),) = portal.requests
    assert (path, headers["Authorization"]) == (EVENTS, f"Bearer {token}")
    assert [len(body[name]) for name in LISTS] == [1, 1, 1]
    assert timedelta(0) <= datetime.now(timezone.utc) - parse_time(body["sent_at"]) < timedelta(minutes=1)
    assert not spool.exists()
    tracker.end_session()
    assert tracker.flush() == 1
    assert len(portal.events) == 3


def test_events_name_nothing_of_the_machine(portal: Any, tracker: ActivityTracker) -> None:
    with tracker, pytest.raises(OSError), tracker.feature("export", endpoint="/x"):
        raise OSError(2, "no such file", "/home/secret.pdf")
    tracker.flush()
    sent = json.dumps(portal.sent_to(EVENTS))
    events_sent = {key for body in portal.sent_to(EVENTS) for name in LISTS for event in body[name] for key in event}
    assert events_sent == {
        "id", "user_email", "session_start", "session_end", "user_agent", "feature_name", "endpoint", "timestamp",
        "success", "duration_ms", "method", "error_type", "error_code",
    }  # fmt: skip
    for secret in (os.uname().nodename if hasattr(os, "uname") else "secret", str(Path.home()), "secret"):
        assert secret not in sent


def test_events_are_delivered_in_the_background(portal: Any, token: str, spool: Path) -> None:
    tracker = ActivityTracker(portal.url, make_session(token), "bob@example.org", spool_path=spool, timeout=PATIENCE)
    with tracker, tracker.feature("export"):
        pass
    assert {event.get("feature_name") for event in portal.events.values()} == {None, "export"}
    assert spool_stats(spool).pending == 0


def test_hanging_portal_does_not_block_the_program(
    portal: Any, token: str, spool: Path, waiting_events: Any, answer: Any
) -> None:
    """The portal answers only after the test: any wait for it would block for ever."""
    portal.answer_with(EVENTS, lambda _: portal.over.wait() and answer(503, {}))
    session = make_session(token)
    tracker = ActivityTracker(portal.url, session, "b@x.org", spool_path=spool, timeout=600, deliver_after=0)
    with tracker.feature("export"):
        pass
    tracker.error("x")
    assert len(waiting_events("features")) == 1


def test_events_of_an_ended_program_are_delivered_by_the_next(portal: Any, token: str, spool: Path, start: Any) -> None:
    program = start(
        "import sys; from vigie_client import ActivityTracker, make_session\n"
        "options = {'spool_path': sys.argv[3], 'deliver_after': 600}\n"
        "tracker = ActivityTracker(sys.argv[1], make_session(sys.argv[2]), 'bob@example.org', **options)\n"
        "tracker.start_session()\n"
        "with tracker.feature('export'): pass\n",
        portal.url, token, spool,
    )  # fmt: skip
    assert program.wait() == 0
    assert portal.events == {}
    ActivityTracker(portal.url, make_session(token), "eve@example.org", spool_path=spool, timeout=PATIENCE).flush()
    assert {event["user_email"] for event in portal.events.values()} == {"bob@example.org"}
    assert len(portal.events) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_forked_child_delivers_its_events(portal: Any, token: str, spool: Path) -> None:
    code = (
        "import os, sys; from vigie_client import ActivityTracker, make_session\n"
        "tracker = ActivityTracker(sys.argv[1], make_session(sys.argv[2]), 'bob@example.org', spool_path=sys.argv[3], timeout=60)\n"
        "tracker.error('parent')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    with tracker: tracker.error('child')\n"
        "    os._exit(0)\n"
        "os._exit(os.waitpid(child, 0)[1])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, portal.url, token, str(spool)], check=True, env=environment)
    assert {event.get("error_type") for event in portal.events.values()} == {None, "parent", "child"}


class Raising:
    def __call__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("secret")


@pytest.mark.parametrize(
    "broken",
    [
        "spool.background.spool_payload",
        "report.activity.uuid.uuid4",
        "report.activity.format_utc",
        "report.activity._now",
    ],
)
def test_internal_failure_does_not_reach_the_program(
    tracker: ActivityTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    monkeypatch.setattr(f"vigie_client.{broken}", Raising())
    with tracker:
        with pytest.raises(ZeroDivisionError), tracker.feature("export"):
            1 / 0  # noqa: B018
        tracker.error("x")
    assert caplog.messages
    assert "secret" not in caplog.text


def test_full_disk_does_not_reach_the_program(portal: Any, token: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with ActivityTracker(portal.url, make_session(token), "b@x.org", spool_path=tmp_path / "file" / "spool") as tracker:
        with tracker.feature("export"):
            pass
        assert tracker.flush() == 0
    assert portal.requests == []


def test_missing_threads_do_not_reach_the_program(
    tracker: ActivityTracker, waiting_events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threading.Thread.start", Raising())
    with tracker, tracker.feature("export"):
        pass
    assert len(waiting_events("features")) == 1


def test_event_ids_are_unique(tracker: ActivityTracker, waiting_events: Any) -> None:
    for _ in range(20):
        tracker.error("x")
    ids = {uuid.UUID(event["id"]) for event in waiting_events("errors")}
    assert len(ids) == 20


def test_event_recorded_during_a_delivery_is_delivered_too(portal: Any, token: str, spool: Path) -> None:
    options: dict[str, Any] = {"spool_path": spool, "timeout": PATIENCE, "deliver_after": 0}
    tracker = ActivityTracker(portal.url, make_session(token), "bob@example.org", **options)
    answer = portal._answer

    def answer_late(*call: Any) -> Any:
        if not portal.events:
            tracker.error("late")
        return answer(*call)

    portal._answer = answer_late  # by the time of the first answer, more is waiting_events
    with tracker:
        pass
    assert [event["error_type"] for event in portal.events.values() if "error_type" in event] == ["late"]
