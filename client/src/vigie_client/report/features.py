"""The use of a feature, timed: around a block, or around every call of a function, whatever its kind."""

from __future__ import annotations

import functools
import inspect
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Generator
from datetime import datetime, timezone
from time import monotonic
from typing import Any, Callable, Optional, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

Used = Callable[[datetime, float, Optional[type]], None]
"""Told when a use began, how many seconds it took, and the class of what it failed with. Never raises."""


class Feature:
    """A context manager and a decorator. Whatever is raised passes through as it is.

    A decorated generator is timed from its first value to its end, a coroutine while it is awaited.
    """

    def __init__(self, used: Used) -> None:
        self._used = used
        self._begun: list[tuple[datetime, float]] = []

    def __enter__(self) -> Feature:
        self._begun.append((datetime.now(timezone.utc), monotonic()))
        return self

    def __exit__(self, kind: Optional[type], error: Optional[BaseException] = None, *_: Any) -> None:
        at, begun = self._begun.pop()
        self._used(at, monotonic() - begun, None if kind is None or _is_orderly_exit(kind, error) else kind)

    def __call__(self, function: F) -> F:
        return cast(F, functools.wraps(function)(self._wrapper(function)))

    def _wrapper(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Each call has a Feature of its own: several may be under way at once."""
        if inspect.isasyncgenfunction(function):
            return self._async_generator(function)
        if inspect.isgeneratorfunction(function):
            return self._generator(function)
        if inspect.iscoroutinefunction(function):
            return self._coroutine(function)

        def call(*given: Any, **named: Any) -> Any:
            with Feature(self._used):
                return function(*given, **named)

        return call

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Generator[Any, Any, Any]:
            with Feature(self._used):
                return (yield from function(*given, **named))

        return call

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*given: Any, **named: Any) -> Any:
            with Feature(self._used):
                return await function(*given, **named)

        return call

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Python has no `yield from` for these: what is sent and thrown in is passed on by hand."""

        async def call(*given: Any, **named: Any) -> AsyncGenerator[Any, Any]:
            generator = function(*given, **named)
            with Feature(self._used):
                step = generator.__anext__()
                while True:
                    try:
                        value = await step
                    except StopAsyncIteration:
                        return
                    try:
                        step = generator.asend((yield value))
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as error:
                        step = generator.athrow(error)

        return call


def _is_orderly_exit(kind: type, error: Optional[BaseException]) -> bool:
    """What was closed early, cancelled or left by `sys.exit()` has done what was wanted of it."""
    if issubclass(kind, SystemExit):
        return getattr(error, "code", None) in (None, 0)
    return issubclass(kind, (GeneratorExit, CancelledError))
