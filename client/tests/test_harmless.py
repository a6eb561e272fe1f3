"""Reporting never raises and never exceeds its deadline, whatever the session does."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any, Iterator

import pytest

from vigie_client import UsageTelemetryClient
from vigie_client.http.deadlines import CallFailed, DeadlineRunner


class StuckSession:
    """A session whose calls block until `release` is set, or for 5 seconds, beyond any deadline here."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.over = threading.Event()
        self.calls = 0

    def post(self, url: str, json: Any, timeout: float) -> Any:
        self.calls += 1
        self.release.wait(5)
        self.over.set()


@pytest.fixture
def stuck() -> Iterator[StuckSession]:
    session = StuckSession()
    yield session
    session.release.set()


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def post(self, *_: Any, **__: Any) -> Any:
        raise self.error

    def log(self, *_: Any) -> None:
        raise self.error


class Odd:
    """A response whose attributes all have the same value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def post(self, *_: Any, **__: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


@pytest.mark.parametrize("error", [OSError(), ValueError(), SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_exception_of_the_session_is_an_outcome(error: BaseException, run: Any) -> None:
    assert UsageTelemetryClient("http://portal", Raising(error)).report(run("a")) is False


@pytest.mark.parametrize("value", [None, "200", 200.0, True, object(), OSError(), SystemExit()])
def test_odd_answer_of_the_session_is_an_outcome(value: Any, run: Any) -> None:
    client = UsageTelemetryClient("http://portal", Odd(value))
    assert client.report(run("a")) is False
    assert not client.report_batch([run("a")]).whole.delivered


def test_raising_logger_does_not_reach_the_program(run: Any) -> None:
    raising = Raising(ValueError())
    assert UsageTelemetryClient("http://portal", raising, logger=raising).report(run("a")) is False


def test_text_of_an_exception_is_not_logged(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    UsageTelemetryClient("http://portal", Raising(OSError("Bearer secret"))).report(run("a"))
    assert caplog.messages == ["usage report not delivered: retry OSError"]


def test_timeout_is_passed_to_the_session(run: Any) -> None:
    given: dict[str, Any] = {}

    class Session:
        def post(self, url: str, **options: Any) -> None:
            given.update(options, url=url)

    UsageTelemetryClient("http://portal/", Session(), timeout=2.5).report(run("a"))
    assert (given["url"], given["timeout"]) == ("http://portal/api/v1/usage/report", 2.5)


def test_stuck_session_returns_at_the_deadline(stuck: StuckSession, run: Any) -> None:
    assert UsageTelemetryClient("http://portal", stuck, timeout=0.05).send(run("a")).code == "deadline"
    assert not stuck.over.is_set()


def test_dripping_server_returns_at_the_deadline(token: str, run: Any) -> None:
    """Single bytes restart the timeout of requests for ever."""
    import socket  # noqa: PLC0415

    from vigie_client import make_session  # noqa: PLC0415

    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n")
            while not over.wait(0.02):
                connection.sendall(b" ")

    dripping = threading.Thread(target=drip)
    dripping.start()
    client = UsageTelemetryClient(f"http://127.0.0.1:{server.getsockname()[1]}", make_session(token), timeout=1.0)
    outcome = client.send(run("a"))
    still_dripping = dripping.is_alive()
    over.set()
    dripping.join()
    server.close()
    assert (outcome.code, still_dripping) == ("deadline", True)


def test_stuck_threads_are_limited(stuck: StuckSession) -> None:
    runner = DeadlineRunner(max_threads=2)
    for _ in range(5):
        with pytest.raises(CallFailed, match="deadline"):
            runner.run(lambda: stuck.post("", None, 0), 0.01)
    assert stuck.calls == 2


def test_ended_call_frees_its_thread(stuck: StuckSession) -> None:
    runner = DeadlineRunner(max_threads=1)
    with pytest.raises(CallFailed, match="deadline"):
        runner.run(lambda: stuck.post("", None, 0), 0.01)
    stuck.release.set()
    assert runner.run(lambda: "done", 20) == "done"


def test_call_waits_for_a_free_thread_within_its_deadline() -> None:
    runner = DeadlineRunner(max_threads=1)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(runner.run(lambda: "done", 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["done"] * 8


def test_missing_threads_do_not_reach_the_program(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", Raising(RuntimeError()).post)
    client = UsageTelemetryClient("http://portal", Odd(201))
    assert [client.send(run("a")).code for _ in range(20)] == ["no_thread"] * 20


def test_program_without_logging_has_an_empty_stderr() -> None:
    code = (
        "from vigie_client import UsageTelemetryClient\n"
        "session = type('Session', (), {'post': lambda *a, **k: 1 / 0})()\n"
        "assert UsageTelemetryClient('http://127.0.0.1:9', session).report({}) is False\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
