"""Background delivery flushes once for all requests, and again for later ones."""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional

from client.tests.helpers.processes import PATIENCE

from vigie_client.spool.background import BackgroundDelivery


class Flushes:
    """Counts flushes. `reached` waits for a count, and `meanwhile` is called during the first flush.

    Each flush returns the next of `pauses`, the seconds until a retry.
    """

    def __init__(self, gather: float = 0, spool: str = "") -> None:
        self.count = 0
        self.changed = threading.Condition()
        self.delivery = BackgroundDelivery(self.flush, gather, spool or str(id(self)))
        self.meanwhile: Callable[[], Any] = lambda: None
        self.pauses: list[float] = []

    def flush(self) -> Optional[float]:
        if self.count == 0:
            self.meanwhile()
        with self.changed:
            self.count += 1
            self.changed.notify_all()
        return self.pauses.pop(0) if self.pauses else None

    def reached(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.count >= count, PATIENCE)


def test_request_starts_a_flush() -> None:
    flushes = Flushes()
    flushes.delivery.request()
    assert flushes.reached(1)


def test_request_during_a_flush_starts_another() -> None:
    flushes = Flushes()
    flushes.meanwhile = flushes.delivery.request
    flushes.delivery.request()
    assert flushes.reached(2)


def test_request_after_the_thread_ended_starts_a_new_one() -> None:
    flushes = Flushes()
    flushes.delivery.request()
    flushes.delivery.finish(PATIENCE)
    flushes.delivery.request()
    assert flushes.reached(2)


def test_finish_flushes_gathered_requests_once() -> None:
    flushes = Flushes(gather=600)
    for _ in range(5):
        flushes.delivery.request()
    assert flushes.count == 0
    flushes.delivery.finish(PATIENCE)
    assert flushes.count == 1


def test_finish_without_a_request_flushes_nothing() -> None:
    flushes = Flushes()
    flushes.delivery.finish(PATIENCE)
    assert flushes.count == 0


def test_finish_returns_after_its_timeout() -> None:
    flushes, over = Flushes(), threading.Event()
    flushes.meanwhile = lambda: over.wait(PATIENCE)
    flushes.delivery.request()
    flushes.delivery.finish(0)
    assert flushes.count == 0
    over.set()
    assert flushes.reached(1)


def test_flush_is_repeated_until_nothing_waits() -> None:
    flushes = Flushes(gather=0)
    flushes.pauses = [0.01, 0.01]
    flushes.delivery.request()
    assert flushes.reached(3)


def test_retry_waits_for_the_pause() -> None:
    flushes = Flushes()
    flushes.pauses = [600]
    flushes.delivery.request()
    assert flushes.reached(1)
    flushes.delivery.finish(PATIENCE)
    assert flushes.count == 1


def test_request_during_a_pause_flushes_at_once() -> None:
    flushes = Flushes()
    flushes.pauses = [600]
    flushes.delivery.request()
    assert flushes.reached(1)
    flushes.delivery.request()
    assert flushes.reached(2)


def test_finish_tries_once_without_waiting_for_the_pause() -> None:
    flushes = Flushes(gather=600)
    flushes.pauses = [600, 600]
    for count in (1, 2):
        flushes.delivery.request()
        flushes.delivery.finish(PATIENCE)
        assert flushes.count == count


def test_only_one_thread_of_a_spool_retries() -> None:
    many = [Flushes(spool="one") for _ in range(3)]
    threads = []
    for flushes in many:
        flushes.pauses = [600]
        flushes.delivery.request()
        assert flushes.reached(1)
        flushes.delivery.finish(PATIENCE)
        threads.append(flushes.delivery._thread)
    for thread in threads[1:]:
        assert thread is not None
        thread.join(PATIENCE)
    assert [bool(thread and thread.is_alive()) for thread in threads] == [True, False, False]


def test_retry_does_not_gather_again() -> None:
    flushes = Flushes(gather=600)
    flushes.pauses = [0.01]
    flushes.delivery.request()
    flushes.delivery.finish(PATIENCE)
    assert flushes.reached(2)


def test_finish_waits_for_a_running_flush() -> None:
    flushes, started, over = Flushes(), threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        over.wait(PATIENCE)

    flushes.meanwhile = wait
    flushes.delivery.request()
    assert started.wait(PATIENCE)
    threading.Timer(0.05, over.set).start()
    flushes.delivery.finish(PATIENCE)
    assert flushes.count == 1
