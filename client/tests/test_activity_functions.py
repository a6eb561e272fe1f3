"""Decorating functions of every kind does not change them."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from typing import Any

import pytest
from client.tests.helpers.processes import PATIENCE

from vigie_client.report.features import FeatureTimer


class Uses:
    """Collects the uses: None for a success, else the class of the exception."""

    def __init__(self) -> None:
        self.failures: list[Any] = []
        self.feature = FeatureTimer(lambda at, seconds, raised: self.failures.append(raised))


@pytest.fixture
def uses() -> Uses:
    return Uses()


def test_decorated_function_keeps_its_name_arguments_and_result(uses: Uses) -> None:
    @uses.feature
    def add(a: int, *, b: int = 1) -> int:
        """Adds."""
        return a + b

    assert (add(1), add(1, b=2)) == (2, 3)
    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    assert list(inspect.signature(add).parameters) == ["a", "b"]
    assert uses.failures == [None, None]


def test_method_can_be_decorated(uses: Uses) -> None:
    class Export:
        @uses.feature
        def run(self) -> Any:
            return self

    export = Export()
    assert export.run() is export


def test_exception_of_a_decorated_function_passes_through(uses: Uses) -> None:
    error = KeyError("secret")

    @uses.feature
    def fail() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        fail()
    assert caught.value is error
    assert uses.failures == [KeyError]


def test_recursive_and_concurrent_calls_are_counted_each(uses: Uses) -> None:
    meeting = threading.Barrier(4)

    @uses.feature
    def down(left: int) -> None:
        meeting.wait(PATIENCE)
        if left:
            down(left - 1)

    threads = [threading.Thread(target=down, args=(2,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert uses.failures == [None] * 12


def test_decorated_generator_counts_once_at_its_end(uses: Uses) -> None:
    @uses.feature
    def numbers() -> Any:
        got = yield 1
        try:
            yield got
        except ValueError:
            yield "caught"
        return "done"

    assert inspect.isgeneratorfunction(numbers)
    generator = numbers()
    assert uses.failures == []
    assert [next(generator), generator.send(2), generator.throw(ValueError())] == [1, 2, "caught"]
    assert uses.failures == []
    with pytest.raises(StopIteration) as caught:
        next(generator)
    assert caught.value.value == "done"
    assert uses.failures == [None]


def test_failing_generator_is_a_failed_use(uses: Uses) -> None:
    @uses.feature
    def numbers() -> Any:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(numbers())
    assert uses.failures == [KeyError]


def test_decorated_coroutine_counts_when_it_is_awaited(uses: Uses) -> None:
    @uses.feature
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert inspect.iscoroutinefunction(double)
    waiting = double(2)
    assert uses.failures == []
    assert asyncio.run(waiting) == 4
    assert uses.failures == [None]


def test_concurrent_coroutines_are_timed_separately(uses: Uses) -> None:
    @uses.feature
    async def fail(number: int) -> None:
        await asyncio.sleep(0)
        if number % 2:
            raise KeyError

    async def all_of_them() -> Any:
        return await asyncio.gather(*map(fail, range(6)), return_exceptions=True)

    assert sum(isinstance(result, KeyError) for result in asyncio.run(all_of_them())) == 3
    assert uses.failures.count(None) == 3


def test_each_call_is_timed_separately() -> None:
    """The first of two overlapping uses to start is the first to end."""
    moments: list[Any] = []
    feature = FeatureTimer(lambda at, seconds, raised: moments.append(at))

    @feature
    async def wait() -> None:
        await asyncio.sleep(0)

    @feature
    def numbers() -> Any:
        yield 1

    async def both() -> None:
        await asyncio.gather(wait(), wait())

    asyncio.run(both())
    first, second = numbers(), numbers()
    assert [next(first), next(second), *first, *second] == [1, 1]
    assert len(moments) == 4
    assert moments == sorted(moments)


def test_cancelled_coroutine_is_not_a_failure(uses: Uses) -> None:
    @uses.feature
    async def wait() -> None:
        await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert uses.failures == [None]


def test_decorated_async_generator_passes_values_and_exceptions_on(uses: Uses) -> None:
    closed = []

    @uses.feature
    async def numbers() -> Any:
        try:
            got = yield 1
            try:
                yield got
            except ValueError:
                yield "caught"
            yield "last"
        finally:
            closed.append(True)

    async def values() -> list[Any]:
        generator = numbers()
        got = [await generator.__anext__(), await generator.asend(2), await generator.athrow(ValueError())]
        return got + [each async for each in generator]

    async def part() -> None:
        generator = numbers()
        await generator.__anext__()
        await generator.aclose()

    assert inspect.isasyncgenfunction(numbers)
    assert asyncio.run(values()) == [1, 2, "caught", "last"]
    assert (uses.failures, closed) == ([None], [True])
    asyncio.run(part())
    assert (uses.failures, closed) == ([None, None], [True, True])


def test_failing_async_generator_is_a_failed_use(uses: Uses) -> None:
    @uses.feature
    async def numbers() -> Any:
        yield 1
        raise KeyError

    async def values() -> list[Any]:
        return [each async for each in numbers()]

    with pytest.raises(KeyError):
        asyncio.run(values())
    assert uses.failures == [KeyError]


@pytest.mark.parametrize("code", [None, 0])
def test_exit_with_status_0_is_not_a_failure(uses: Uses, code: Any) -> None:
    with pytest.raises(SystemExit), uses.feature:
        sys.exit(code)
    assert uses.failures == [None]


@pytest.mark.parametrize("code", [1, "no licence"])
def test_exit_with_an_error_is_a_failure(uses: Uses, code: Any) -> None:
    with pytest.raises(SystemExit), uses.feature:
        sys.exit(code)
    assert uses.failures == [SystemExit]


def test_closed_generator_is_not_a_failure(portal: Any, spool: Any) -> None:
    import json  # noqa: PLC0415

    from vigie_client import ActivityTracker  # noqa: PLC0415

    tracker = ActivityTracker(portal.url, None, "bob@example.org", spool_path=spool, deliver_after=600)

    @tracker.feature("numbers")
    def numbers() -> Any:
        yield 1
        yield 2

    generator = numbers()
    next(generator)
    generator.close()
    (line,) = spool.read_text().splitlines()
    assert json.loads(line)["event"]["success"] is True
