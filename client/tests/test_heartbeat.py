from __future__ import annotations

import threading
from typing import Any

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client import HeartbeatThread, PortalError, make_session, send_heartbeat

HEARTBEAT = "/api/v1/agents/heartbeat"


@pytest.fixture
def beating(portal: Any, token: str) -> HeartbeatThread:
    return HeartbeatThread(portal.url, make_session(token), version="1.4", timeout=PATIENCE, rng=lambda: 0.0)


def test_heartbeat_sends_the_known_fields(portal: Any, answer: Any, token: str) -> None:
    portal.answer_with(HEARTBEAT, answer(200, {"status": "ok", "next_heartbeat_seconds": 312}))
    assert send_heartbeat(portal.url, make_session(token), version="1.4", timeout=PATIENCE) == 312
    assert portal.sent_to(HEARTBEAT) == [{"version": "1.4"}]


@pytest.mark.parametrize(
    ("given", "interval"),
    [(312, 312), (0, 1), (-5, 1), (10**9, 86_400), (None, 300), ("60", 300), (True, 300), (1e999, 300)],
)
def test_interval_is_clamped(portal: Any, answer: Any, token: str, given: Any, interval: float) -> None:
    portal.answer_with(HEARTBEAT, answer(200, {"next_heartbeat_seconds": given}))
    assert send_heartbeat(portal.url, make_session(token), timeout=PATIENCE) == interval


def test_failed_heartbeat_raises_its_code(portal: Any, answer: Any, token: str) -> None:
    portal.answer_with(HEARTBEAT, answer(401, {"code": "token_revoked"}))
    with pytest.raises(PortalError, match="auth 401 token_revoked"):
        send_heartbeat(portal.url, make_session(token), timeout=PATIENCE)


def test_thread_uses_the_portals_interval(portal: Any, answer: Any, beating: HeartbeatThread) -> None:
    portal.answer_with(HEARTBEAT, answer(200, {"next_heartbeat_seconds": 312}))
    assert beating.beat() == 312


def test_thread_backs_off_if_the_portal_is_unavailable(portal: Any, answer: Any, beating: HeartbeatThread) -> None:
    up, down = answer(200, {"next_heartbeat_seconds": 312}), answer(503, {})
    portal.answer_with(HEARTBEAT, down, down, down, up, down)
    assert [beating.beat() for _ in range(5)] == [1, 2, 4, 312, 1]


def test_thread_obeys_retry_after(portal: Any, answer: Any, beating: HeartbeatThread) -> None:
    portal.answer_with(HEARTBEAT, answer(429, {}, {"Retry-After": "77"}))
    assert beating.beat() == 77


@pytest.mark.parametrize(
    ("status", "code", "pause"), [(401, None, 900), (403, None, 900), (404, "agent_unknown", 900), (404, None, 1)]
)
def test_only_a_refusal_of_the_portal_pauses_for_long(
    portal: Any, answer: Any, beating: HeartbeatThread, status: int, code: Any, pause: float
) -> None:
    portal.answer_with(HEARTBEAT, answer(status, {"code": code}))
    assert beating.beat() == pause


class Raising:
    def post(self, *_: Any, **__: Any) -> Any:
        raise SystemExit

    def log(self, *_: Any) -> None:
        raise ValueError


def test_odd_arguments_do_not_end_the_thread() -> None:
    assert HeartbeatThread("http://portal", Raising(), logger=Raising(), rng=lambda: 0.0).beat() == 1
    assert HeartbeatThread(None, Raising()).beat() == 300  # type: ignore[arg-type]


def test_stop_between_heartbeats_returns_at_once(portal: Any, answer: Any, beating: HeartbeatThread) -> None:
    heard = threading.Event()

    def hear(_: Any) -> Any:
        heard.set()
        return answer(200, {"next_heartbeat_seconds": 86_400})

    portal.answer_with(HEARTBEAT, hear)
    beating.start()
    assert heard.wait(PATIENCE)
    beating.stop(timeout=PATIENCE)
    assert not beating.is_alive()


def test_stop_does_not_wait_for_a_running_heartbeat(beating: HeartbeatThread) -> None:
    begun, release = threading.Event(), threading.Event()

    class Stuck:
        def post(self, *_: Any, **__: Any) -> None:
            begun.set()
            release.wait()

    stuck = HeartbeatThread("http://portal", Stuck(), timeout=PATIENCE)
    stuck.start()
    assert begun.wait(PATIENCE)
    stuck.stop(timeout=0.01)
    assert stuck.is_alive()  # it returned, though nothing had released the call
    release.set()
    stuck.join()


def test_thread_ends_with_its_program(beating: HeartbeatThread) -> None:
    assert beating.daemon


def test_thread_can_be_stopped_before_it_is_started(beating: HeartbeatThread) -> None:
    beating.stop()
