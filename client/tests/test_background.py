"""Delivery in the background comes soon, once for all that was asked for, and again when asked again."""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional

from vigie_client.spool.background import BackgroundDelivery


class Flushes:
    """Counts flushes; `reached` waits until there were so many. `meanwhile` is what happens during the first.

    Each flush takes the next of `pauses`: after so many seconds it is to be tried again.
    """

    def __init__(self, gather: float = 0, spool: str = "") -> None:
        self.count = 0
        self.happened = threading.Condition()
        self.delivery = BackgroundDelivery(self.flush, gather, spool or str(id(self)))
        self.meanwhile: Callable[[], Any] = lambda: None
        self.pauses: list[float] = []

    def flush(self) -> Optional[float]:
        if self.count == 0:
            self.meanwhile()
        with self.happened:
            self.count += 1
            self.happened.notify_all()
        return self.pauses.pop(0) if self.pauses else None

    def reached(self, count: int) -> bool:
        with self.happened:
            return self.happened.wait_for(lambda: self.count >= count, 20)


def test_it_comes_by_itself() -> None:
    flushes = Flushes()
    flushes.delivery.request()
    assert flushes.reached(1)


def test_it_comes_again_when_something_came_meanwhile() -> None:
    flushes = Flushes()
    flushes.meanwhile = flushes.delivery.request
    flushes.delivery.request()
    assert flushes.reached(2)


def test_it_comes_again_after_it_has_ended() -> None:
    flushes = Flushes()
    flushes.delivery.request()
    flushes.delivery.finish(20)
    flushes.delivery.request()
    assert flushes.reached(2)


def test_it_gathers_until_the_end() -> None:
    flushes = Flushes(gather=600)
    for _ in range(5):
        flushes.delivery.request()
    assert flushes.count == 0
    flushes.delivery.finish(20)
    assert flushes.count == 1


def test_it_has_nothing_to_finish_where_nothing_was_asked_for() -> None:
    flushes = Flushes()
    flushes.delivery.finish(20)
    assert flushes.count == 0


def test_it_is_waited_for_no_longer_than_was_said() -> None:
    flushes, over = Flushes(), threading.Event()
    flushes.meanwhile = lambda: over.wait(20)
    flushes.delivery.request()
    flushes.delivery.finish(0)
    assert flushes.count == 0
    over.set()
    assert flushes.reached(1)


def test_it_tries_again_until_nothing_is_left() -> None:
    flushes = Flushes(gather=0)
    flushes.pauses = [0.01, 0.01]
    flushes.delivery.request()
    assert flushes.reached(3)


def test_it_waits_for_the_pause_before_it_tries_again() -> None:
    flushes = Flushes()
    flushes.pauses = [600]
    flushes.delivery.request()
    assert flushes.reached(1)
    flushes.delivery.finish(20)
    assert flushes.count == 1


def test_an_event_during_the_pause_is_tried_at_once() -> None:
    flushes = Flushes()
    flushes.pauses = [600]
    flushes.delivery.request()
    assert flushes.reached(1)
    flushes.delivery.request()
    assert flushes.reached(2)


def test_to_finish_is_to_try_once_and_not_to_wait_for_the_pause() -> None:
    flushes = Flushes(gather=600)
    flushes.pauses = [600, 600]
    for count in (1, 2):
        flushes.delivery.request()
        flushes.delivery.finish(20)
        assert flushes.count == count


def test_of_many_on_one_spool_one_tries_again() -> None:
    many = [Flushes(spool="one") for _ in range(3)]
    threads = []
    for flushes in many:
        flushes.pauses = [600]
        flushes.delivery.request()
        assert flushes.reached(1)
        flushes.delivery.finish(20)
        threads.append(flushes.delivery._thread)
    for thread in threads[1:]:
        assert thread is not None
        thread.join(20)
    assert [bool(thread and thread.is_alive()) for thread in threads] == [True, False, False]


def test_what_is_tried_again_has_gathered_already() -> None:
    flushes = Flushes(gather=600)
    flushes.pauses = [0.01]
    flushes.delivery.request()
    flushes.delivery.finish(20)
    assert flushes.reached(2)


def test_to_finish_is_to_wait_for_what_is_under_way() -> None:
    flushes, begun, over = Flushes(), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        over.wait(20)

    flushes.meanwhile = wait
    flushes.delivery.request()
    assert begun.wait(20)
    threading.Timer(0.05, over.set).start()
    flushes.delivery.finish(20)
    assert flushes.count == 1
