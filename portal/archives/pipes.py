"""Run a function of a readable and a writable file in a thread, and be at the other end of one of them."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


class Worker:
    """Runs `work` in a thread with one end of a pipe, which it closes; `end()` waits for it and raises its error."""

    def __init__(self, work: Callable[[BinaryIO], None], end: BinaryIO) -> None:
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, args=(work, end), daemon=True)
        self.thread.start()

    def run(self, work: Callable[[BinaryIO], None], end: BinaryIO) -> None:
        try:
            # The other end may be closed by now: that is its owner's error, not ours.
            with suppress(BrokenPipeError), end:
                work(end)
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        self.thread.join()
        if self.error is not None:
            raise self.error


@contextmanager
def write_to(work: Callable[[BinaryIO], None]) -> Iterator[BinaryIO]:
    """Yield a file; `work` reads what is written to it. Its error is raised in place of the broken pipe."""
    reading, writing = os.pipe()
    worker = Worker(work, os.fdopen(reading, "rb"))
    try:
        with suppress(BrokenPipeError), open(writing, "wb") as file:
            yield file
    finally:
        worker.thread.join()
    worker.end()


@contextmanager
def read_from(work: Callable[[BinaryIO], None]) -> Iterator[BinaryIO]:
    """Yield a file; `work` writes what is read from it. Its error is raised in place of what that did to the reader.

    What the reader leaves is read to the end, so that `work` sees all of its own input.
    """
    reading, writing = os.pipe()
    with open(reading, "rb") as file:
        worker = Worker(work, os.fdopen(writing, "wb"))
        try:
            yield file
            while file.read(1 << 16):
                pass
        except BaseException:
            file.close()
            worker.thread.join()
            if worker.error is not None:
                raise worker.error from None
            raise
    worker.end()
