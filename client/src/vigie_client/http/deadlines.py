"""Run calls that return at their deadline, whatever the network does."""

from __future__ import annotations

import threading
import time
from typing import Callable, Generic, Optional, TypeVar, cast

from vigie_client.disk.forks import renew_after_fork

T = TypeVar("T")


class CallFailed(Exception):
    """The call timed out (kind `deadline`) or raised an exception of the class named `kind`.

    The exception itself is not kept: its text may hold a URL with a password, or a header.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class DeadlineRunner:
    """Runs calls in daemon threads, so that the caller returns at the deadline.

    The timeout of `requests` is per socket operation: a server that sends one byte a second never exceeds it. A thread
    that such a server holds cannot be killed; at most `max_threads` exist, and further calls wait for a free one within
    their own deadline. In a forked child all are free, since the parent's threads do not exist there.
    """

    def __init__(self, max_threads: int = 8) -> None:
        self._max_threads = max_threads
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        self._slots = threading.BoundedSemaphore(self._max_threads)

    def run(self, call: Callable[[], T], timeout: float) -> T:
        """Return the result of `call()`. Raises CallFailed if it raises or takes longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if not self._slots.acquire(timeout=max(0.0, timeout)):
            raise CallFailed("deadline")
        work = _Work(call, self._slots.release)
        try:
            threading.Thread(target=work.run, name="vigie-client-call", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._slots.release()
            raise CallFailed("no_thread") from None
        return work.result(deadline)


class _Work(Generic[T]):
    def __init__(self, call: Callable[[], T], on_end: Callable[[], None]) -> None:
        self._call = call
        self._on_end = on_end
        self._ended = threading.Event()
        self._value: Optional[T] = None
        self._failure: Optional[str] = None

    def run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # including SystemExit, which would silently end only this thread
            self._failure = type(error).__name__
        finally:
            self._on_end()
            self._ended.set()

    def result(self, deadline: float) -> T:
        if not self._ended.wait(max(0.0, deadline - time.monotonic())):
            raise CallFailed("deadline")
        if self._failure is not None:
            raise CallFailed(self._failure)
        return cast(T, self._value)
