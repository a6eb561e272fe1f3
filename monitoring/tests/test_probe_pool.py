"""Checks at their moments: in order, once at a time, and none in the way of another."""

from __future__ import annotations

import threading
import time

import pytest

from monitoring.probe.http import ProbeOutcome
from monitoring.probe.pool import FinishedProbe, Prober
from monitoring.probe.spec import Spec
from portal.tests.helpers.hostile_servers import Server, answer, says
from portal.tests.helpers.waiting import PATIENCE

SPEC = Spec("http://name.example")


def hold(spec, *, allow_private):
    return ProbeOutcome(status=200, latency_ms=1.0)


def collect(prober: Prober, count: int) -> list[FinishedProbe]:
    found: list[FinishedProbe] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count and time.monotonic() < deadline:
        found += prober.finished(PATIENCE)
    return found


def test_probe_runs_on_time_and_is_returned_once():
    with Server(says(answer())) as server, Prober() as prober:
        due = time.monotonic() + 0.1
        prober.submit("a", Spec(server.url), due)
        assert prober.in_flight == 1
        [finished] = prober.finished(PATIENCE)
        assert prober.in_flight == 0
        assert prober.finished(0) == []
    assert (finished.key, finished.outcome.is_ok, finished.due) == ("a", True, due)
    assert due <= finished.started <= finished.ended


def test_probes_run_in_the_order_they_are_due():
    order: list[str] = []

    def note(spec, *, allow_private):
        order.append(spec.url)
        return ProbeOutcome()

    now = time.monotonic() + 0.1
    with Prober(threads=1, probe=note) as prober:
        for number in (3, 1, 2, 0):
            prober.submit(number, Spec(str(number)), now + number / 100)
        collect(prober, 4)
    assert order == ["0", "1", "2", "3"]


def test_earlier_probe_overtakes_a_planned_one():
    with Prober(probe=hold) as prober:
        prober.submit("later", SPEC, time.monotonic() + 3600)
        prober.submit("now", SPEC, time.monotonic())
        assert [each.key for each in prober.finished(PATIENCE)] == ["now"]
        assert prober.in_flight == 1


def test_probes_due_at_the_same_time_need_not_be_comparable():
    with Prober(probe=hold) as prober:
        due = time.monotonic() + 0.05
        prober.submit(1, SPEC, due)
        prober.submit("a", SPEC, due)
        assert {each.key for each in collect(prober, 2)} == {1, "a"}


def test_key_in_flight_is_refused():
    with Prober(probe=hold) as prober:
        prober.submit("a", SPEC, time.monotonic())
        with pytest.raises(ValueError, match="in flight"):
            prober.submit("a", SPEC, time.monotonic())
        assert len(collect(prober, 1)) == 1
        prober.submit("a", SPEC, time.monotonic())
        assert len(collect(prober, 1)) == 1


def test_key_is_in_flight_until_its_probe_is_returned():
    is_done = threading.Event()

    def note(spec, *, allow_private):
        is_done.set()
        return ProbeOutcome()

    with Prober(probe=note) as prober:
        prober.submit("a", SPEC, time.monotonic())
        assert is_done.wait(PATIENCE)
        with pytest.raises(ValueError):
            prober.submit("a", SPEC, time.monotonic())


def test_hanging_suspects_delay_no_healthy_targets():
    is_over = threading.Event()

    def by_url(spec, *, allow_private):
        if spec.url == "dead":
            is_over.wait(30)
        return ProbeOutcome()

    with Prober(threads=2, probe=by_url) as prober:
        for number in range(10):
            prober.submit(f"dead{number}", Spec("dead"), time.monotonic(), is_suspect=True)
        for number in range(10):
            prober.submit(number, Spec("well"), time.monotonic())
        assert {each.key for each in collect(prober, 10)} == set(range(10))
        is_over.set()
        assert len(collect(prober, 10)) == 10


def test_hanging_healthy_targets_delay_no_suspects():
    is_over = threading.Event()

    def by_url(spec, *, allow_private):
        if spec.url == "newly dead":
            is_over.wait(30)
        return ProbeOutcome()

    with Prober(threads=1, probe=by_url) as prober:
        prober.submit("dead", Spec("newly dead"), time.monotonic())
        prober.submit("suspect", Spec("well"), time.monotonic(), is_suspect=True)
        assert [each.key for each in collect(prober, 1)] == ["suspect"]
        is_over.set()


def test_unexpected_error_is_an_outcome_and_is_logged(caplog):
    def fail(spec, *, allow_private):
        raise ZeroDivisionError("secret")

    with Prober(probe=fail) as prober:
        prober.submit("a", SPEC, time.monotonic())
        [finished] = prober.finished(PATIENCE)
    assert (finished.outcome.error_kind, finished.outcome.detail) == ("protocol", "ZeroDivisionError")
    assert finished.outcome.latency_ms is None
    assert "a probe raised an unexpected error" in caplog.text


def test_private_addresses_are_allowed_for_all_or_none():
    asked = []

    def note(spec, *, allow_private):
        asked.append(allow_private)
        return ProbeOutcome()

    for allowed in (True, False):
        with Prober(probe=note, allow_private=allowed) as prober:
            prober.submit("a", SPEC, time.monotonic())
            collect(prober, 1)
    assert asked == [True, False]


def test_waiting_for_probes_ends_at_the_timeout():
    with Prober(probe=hold) as prober:
        assert prober.finished(0.01) == []
        assert prober.finished(-1) == []


def test_closing_drops_planned_probes_and_waits_for_running_ones():
    started, is_over, ended = threading.Event(), threading.Event(), []

    def note(spec, *, allow_private):
        started.set()
        is_over.wait(PATIENCE)
        ended.append(spec.url)
        return ProbeOutcome()

    prober = Prober(threads=1, probe=note)
    prober.submit("a", Spec("started"), time.monotonic())
    prober.submit("b", Spec("queued"), time.monotonic())
    prober.submit("c", Spec("planned"), time.monotonic() + 3600)
    assert started.wait(PATIENCE)
    threading.Timer(0.05, is_over.set).start()
    prober.close()
    assert ended == ["started"]
    with pytest.raises(RuntimeError):
        prober.submit("d", SPEC, time.monotonic())


def names_of_threads() -> set[str]:
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if name.startswith(("probe_", "probe-suspect_"))}


def test_threads_are_started_as_needed():
    with Prober(probe=hold) as prober:
        assert names_of_threads() == set()
        prober.submit("a", SPEC, time.monotonic())
        collect(prober, 1)
        assert names_of_threads() == {"probe_0"}
    assert names_of_threads() == set()
