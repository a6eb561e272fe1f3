"""Whether it is us who are offline."""

import socket
import threading
import time

import pytest

from monitoring.checks import connectivity
from monitoring.checks.connectivity import FRESH_SECONDS, Connectivity, can_reach_any


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


def asked(endpoints, *, was_ever_online):
    found = Connectivity(endpoints, was_ever_online=was_ever_online)
    found.start_probe()
    found.prober.join()
    return found


def test_one_reachable_endpoint_is_enough(listening, closed):
    assert can_reach_any([closed, listening])
    assert not can_reach_any([closed, closed])


def test_first_reachable_endpoint_ends_the_probe(monkeypatch):
    """However long the endpoint before it takes."""
    is_over = threading.Event()
    monkeypatch.setattr(connectivity, "can_reach", lambda endpoint: endpoint == "quick" or not is_over.wait(60))
    assert can_reach_any(["hangs", "quick"])
    assert not is_over.is_set()
    is_over.set()


def test_failure_is_ours_if_no_endpoint_answers_after_it(closed):
    failed_at = time.monotonic()
    found = asked([closed], was_ever_online=True)
    assert found.may_explain(failed_at) is True
    assert found.status() is False


def test_failure_is_theirs_if_an_endpoint_answers(listening):
    found = asked([listening], was_ever_online=False)
    assert found.may_explain(time.monotonic()) is False
    assert found.status() is True


def test_failure_is_theirs_if_the_network_was_never_reached(closed):
    found = asked([closed], was_ever_online=False)
    assert found.may_explain(time.monotonic()) is False
    assert found.status() is None


def test_probe_before_the_failure_proves_no_outage(closed):
    found = asked([closed], was_ever_online=True)
    assert found.may_explain(time.monotonic() + 1) is None
    assert found.prober.is_alive() or found.answered_at > 0


def test_being_online_is_believed_for_ten_seconds(listening):
    found = asked([listening], was_ever_online=True)
    assert found.may_explain(found.answered_at + FRESH_SECONDS) is False
    assert found.may_explain(found.answered_at + FRESH_SECONDS + 0.001) is None


def refused(code):
    def look_up(host, deadline):
        raise socket.gaierror(code, "") if code else TimeoutError

    return look_up


@pytest.mark.parametrize(
    ("look_up", "is_ours"),
    [
        (refused(socket.EAI_AGAIN), True),
        (refused(None), True),
        (refused(socket.EAI_NONAME), False),
        (refused(socket.EAI_FAIL), False),  # it answers, and refuses this name
        (lambda host, deadline: ["192.0.2.1"], False),
    ],
)
def test_failed_lookup_is_ours_if_the_resolver_does_not_answer(listening, monkeypatch, look_up, is_ours):
    monkeypatch.setattr(connectivity, "system_resolver", look_up)
    failed_at = time.monotonic()
    found = asked([listening], was_ever_online=False)
    assert found.may_explain_lookup(failed_at) is is_ours
    assert found.may_explain(failed_at) is False
    assert found.status() is True


def test_failed_lookup_is_theirs_if_the_network_was_never_reached(closed, monkeypatch):
    monkeypatch.setattr(connectivity, "system_resolver", refused(socket.EAI_AGAIN))
    assert asked([closed], was_ever_online=False).may_explain_lookup(0.0) is False


def test_without_endpoints_nothing_is_probed_or_excluded():
    found = Connectivity([], was_ever_online=True)
    found.start_probe()
    assert found.prober is None
    assert found.may_explain(0.0) is False
    assert found.status() is None
