"""Whether it is us who are offline."""

import socket
import time

import pytest

from monitoring.connectivity import FRESH_SECONDS, Connectivity, reaches_any


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


def asked(endpoints, *, was_online):
    connectivity = Connectivity(endpoints, was_online=was_online)
    connectivity.ask()
    connectivity.asking.join()
    return connectivity


def test_one_endpoint_that_answers_is_enough(listening, closed):
    assert reaches_any([closed, listening])
    assert not reaches_any([closed, closed])


def test_a_failure_is_ours_when_nothing_answers_afterwards(closed):
    failed_at = time.monotonic()
    connectivity = asked([closed], was_online=True)
    assert connectivity.excuses(failed_at) is True
    assert connectivity.verdict() is False


def test_a_failure_is_theirs_when_something_answers(listening):
    connectivity = asked([listening], was_online=False)
    assert connectivity.excuses(time.monotonic()) is False
    assert connectivity.verdict() is True


def test_where_the_network_was_never_reached_a_failure_is_theirs(closed):
    connectivity = asked([closed], was_online=False)
    assert connectivity.excuses(time.monotonic()) is False
    assert connectivity.verdict() is None


def test_an_answer_of_before_the_failure_does_not_find_an_outage(closed):
    connectivity = asked([closed], was_online=True)
    assert connectivity.excuses(time.monotonic() + 1) is None
    assert connectivity.asking.is_alive() or connectivity.answered_at > 0


def test_that_we_are_online_is_believed_for_a_while_and_no_longer(listening):
    connectivity = asked([listening], was_online=True)
    assert connectivity.excuses(connectivity.answered_at + FRESH_SECONDS) is False
    assert connectivity.excuses(connectivity.answered_at + FRESH_SECONDS + 0.001) is None


def test_without_endpoints_nothing_is_asked_and_nothing_is_ours():
    connectivity = Connectivity([], was_online=True)
    connectivity.ask()
    assert connectivity.asking is None
    assert connectivity.excuses(0.0) is False
    assert connectivity.verdict() is None
