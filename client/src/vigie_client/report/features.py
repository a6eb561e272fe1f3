"""Time the use of a feature: around a block, or around each call of a function, generator or coroutine."""

from __future__ import annotations

import functools
import inspect
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Generator
from datetime import datetime, timezone
from time import monotonic
from typing import Any, Callable, Optional, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

UseRecorder = Callable[[datetime, float, Optional[type]], None]
"""Receives the start of a use, its seconds, and the class of the exception that failed it. Never raises."""


class FeatureTimer:
    """A context manager and a decorator, through which exceptions pass unchanged.

    A decorated generator is timed from its first value to its end, a coroutine while it is awaited.
    """

    def __init__(self, record_use: UseRecorder) -> None:
        self._record_use = record_use
        self._starts: list[tuple[datetime, float]] = []

    def __enter__(self) -> FeatureTimer:
        self._starts.append((datetime.now(timezone.utc), monotonic()))
        return self

    def __exit__(self, kind: Optional[type], error: Optional[BaseException] = None, *_: Any) -> None:
        at, started = self._starts.pop()
        self._record_use(at, monotonic() - started, None if kind is None or _is_orderly_exit(kind, error) else kind)

    def __call__(self, function: F) -> F:
        return cast(F, functools.wraps(function)(self._wrapper(function)))

    def _wrapper(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `function`. Each call has its own FeatureTimer, since several may run at once."""
        if inspect.isasyncgenfunction(function):
            return self._async_generator(function)
        if inspect.isgeneratorfunction(function):
            return self._generator(function)
        if inspect.iscoroutinefunction(function):
            return self._coroutine(function)

        def call(*args: Any, **kwargs: Any) -> Any:
            with FeatureTimer(self._record_use):
                return function(*args, **kwargs)

        return call

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with FeatureTimer(self._record_use):
                return (yield from function(*args, **kwargs))

        return call

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            with FeatureTimer(self._record_use):
                return await function(*args, **kwargs)

        return call

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap an async generator, for which Python has no `yield from`: pass on values and exceptions by hand."""

        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            generator = function(*args, **kwargs)
            with FeatureTimer(self._record_use):
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
    """Return True for an early close, a cancellation or `sys.exit()`, which are no failures."""
    if issubclass(kind, SystemExit):
        return getattr(error, "code", None) in (None, 0)
    return issubclass(kind, (GeneratorExit, CancelledError))
