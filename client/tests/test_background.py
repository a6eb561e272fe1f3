"""Delivery in the background comes soon, once for all that was asked for, and again when asked again."""

from __future__ import annotations

import threading
from typing import Any, Callable

from vigie_client.background import BackgroundDelivery


class Flushes:
    """Counts flushes; `reached` waits until there were so many. `meanwhile` is what happens during the first."""

    def __init__(self, gather: float = 0) -> None:
        self.count = 0
        self.happened = threading.Condition()
        self.delivery = BackgroundDelivery(self.flush, gather)
        self.meanwhile: Callable[[], Any] = lambda: None

    def flush(self) -> None:
        if self.count == 0:
            self.meanwhile()
        with self.happened:
            self.count += 1
            self.happened.notify_all()

    def reached(self, count: int) -> bool:
        with self.happened:
            return self.happened.wait_for(lambda: self.count >= count, 20)


def test_it_comes_by_itself() -> None:
    flushes = Flushes()
    flushes.delivery.soon()
    assert flushes.reached(1)


def test_it_comes_again_when_something_came_meanwhile() -> None:
    flushes = Flushes()
    flushes.meanwhile = flushes.delivery.soon
    flushes.delivery.soon()
    assert flushes.reached(2)


def test_it_comes_again_after_it_has_ended() -> None:
    flushes = Flushes()
    flushes.delivery.soon()
    flushes.delivery.finish(20)
    flushes.delivery.soon()
    assert flushes.reached(2)


def test_it_gathers_until_the_end() -> None:
    flushes = Flushes(gather=600)
    for _ in range(5):
        flushes.delivery.soon()
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
    flushes.delivery.soon()
    flushes.delivery.finish(0)
    assert flushes.count == 0
    over.set()
    assert flushes.reached(1)
