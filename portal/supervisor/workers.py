"""The worker processes of a cluster. Each has two pipes to the main process, and nothing in common with the others.

A worker is killed at any moment, and takes no lock along: the main process gives a task to a worker that is idle, and
takes its result. A pipe that ends means the end of whoever holds its other side.
"""

import math
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import timedelta
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any

from django_q import worker as django_q

from portal.work.attempts import cluster_is_ending

# The worker's own alarm ends a task at its timeout. One that does not heed it is killed this much later.
ALARM_GRACE = timedelta(seconds=3)
RESULT_LENGTH = 2_000
fork = get_context("fork")


class Worker:
    """One worker process, as its main process sees it. `task` is what it was given, None while it is idle."""

    def __init__(self, timeout: timedelta, others: Sequence["Worker"]) -> None:
        """Fork it. The caller must have closed its database connections, and have no thread."""
        self.timeout = timeout
        self.task: dict[str, Any] | None = None
        self.overdue_at = math.inf
        theirs, self.tasks = Pipe(duplex=False)
        self.results, results = Pipe(duplex=False)
        inherited = [end for worker in (self, *others) for end in (worker.tasks, worker.results)]
        self.process = fork.Process(target=work, args=(theirs, results, inherited, timeout), daemon=True)
        self.process.start()
        theirs.close()
        results.close()

    def give(self, task: dict[str, Any]) -> None:
        """Give it a task, which fits into the pipe. A worker that died meanwhile still has it as its `task`."""
        self.task = task
        self.overdue_at = time.monotonic() + (self.timeout + ALARM_GRACE).total_seconds()
        with suppress(OSError):
            self.tasks.send(task)

    @property
    def is_idle(self) -> bool:
        return self.task is None

    def take_result(self) -> dict[str, Any] | None:
        """Return the task that it has ended, or None if the worker itself has."""
        try:
            end: dict[str, Any] = self.results.recv()
        except (EOFError, OSError):
            return None
        task, self.task, self.overdue_at = self.task or {}, None, math.inf
        return task | end

    def kill_if_overdue(self) -> None:
        if time.monotonic() > self.overdue_at:
            self.process.kill()

    def end(self) -> None:
        """Let it end as soon as it is idle."""
        self.tasks.close()

    def close(self) -> int | None:
        """Return its exit status; call it when it has ended."""
        self.process.join()
        code = self.process.exitcode
        for resource in (self.tasks, self.results, self.process):
            resource.close()
        return code


class Inbox:
    """The tasks of a worker, as django-q2 takes them from a queue."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def get(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return "STOP"


class Outbox:
    """The results of a worker, as django-q2 puts them into a queue."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def put(self, task: dict[str, Any]) -> None:
        """Send what the main process does not know. One short write is never cut: a worker may be stopped at any time.

        What a task returns is None.
        """
        end = {key: task[key] for key in ("ack_id", "success", "stopped")}
        end["result"] = None if task["success"] else str(task["result"])[:RESULT_LENGTH]
        with suppress(OSError):  # the main process was killed: the end of the task is on record
            self.pipe.send(end)


class Timer:
    """The state of a worker, which django-q2 shares with its own main process. Ours has `overdue_at`."""

    value = -1.0
    get_lock = nullcontext


def work(tasks: Connection, results: Connection, inherited: Sequence[Connection], timeout: timedelta) -> None:
    """Run tasks until the main process ends. During a task, anything to read is the end: no second one is sent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for end in inherited:
        end.close()
    cluster_is_ending.set(tasks.poll)
    django_q.worker(Inbox(tasks), Outbox(results), Timer(), int(timeout.total_seconds()))
