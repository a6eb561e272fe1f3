"""The process that restores one dump: `python -m backups.drills.child`, started by `backups.drills.children`.

Reads a task as one line of JSON from stdin, whose end it takes for the end of its parent. The dump is the file
descriptor that the task names. Writes lines of JSON to stdout: `{"read": bytes}` as it goes on, `{"needs": engine}` for
a private server, whose address is the next line of stdin, and at the end `{"outcome": ...}`,
`{"unavailable": [engine, reason]}` for a sandbox that cannot be used, or `{"crashed": where}`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from backups.drills import outcomes, sqlite
from backups.drills.assertions import Assertion, NotOneValue, is_fulfilled, only_value, storable_value
from backups.drills.limits import OUT_OF_MEMORY, SPACE_IS_LOW, Limits, limit_memory
from backups.drills.outcomes import Aborted, Outcome, QueryFailed, Reason, SandboxUnavailable, Unsupported
from backups.drills.recognition import HEAD_BYTES, DumpKind, recognize
from backups.drills.scripts import ScriptTooLong
from backups.drills.streams import DumpStream

REPORTED_EVERY = 0.5
NO_SANDBOX = {
    outcomes.POSTGRESQL: "no_postgresql_sandbox",
    outcomes.MYSQL: "no_mysql_sandbox",
    outcomes.MARIADB: "no_mysql_sandbox",
}
NOT_ONE_VALUE: Reason = {"code": "not_one_value"}
reporting = threading.Lock()
answers: SimpleQueue[dict[str, str] | None] = SimpleQueue()


class Sandbox(Protocol):
    """A restored database of one engine. `version` is that of the sandbox's server."""

    version: str

    def restore(self, pieces: Iterable[bytes], outcome: Outcome) -> None: ...
    def inspect(self, outcome: Outcome) -> None: ...
    def evaluate(self, query: str) -> list[tuple[Any, ...]]: ...
    def close(self) -> None: ...


def open_sandbox(kind: DumpKind, task: dict[str, Any], limits: Limits) -> Sandbox | None:
    """Return an empty database for a dump of this kind, or None without a sandbox for it. Raises SandboxUnavailable.

    Only the driver that is needed is imported: each takes as long as a small drill.
    """
    if kind.engine == outcomes.SQLITE:
        return sqlite.Sandbox(Path(task["folder"]), kind, limits)
    if kind.engine == outcomes.POSTGRESQL:
        from backups.drills.postgresql import sandbox as postgresql  # noqa: PLC0415

        return postgresql.open_sandbox(kind, task, limits, ask_for_server)
    if kind.engine in (outcomes.MYSQL, outcomes.MARIADB) and task["mysql_url"]:
        from backups.drills.mysql import sandbox as mysql  # noqa: PLC0415

        return mysql.Sandbox(task["mysql_url"], kind, limits)
    return None


def main() -> None:
    limit_memory()
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=listen_to_parent, daemon=True).start()
    try:
        if task.get("sweep"):
            remove_leftovers(task)
        else:
            report({"outcome": drill(task).as_json()})
    except SandboxUnavailable as error:
        report({"unavailable": [error.engine, error.why]})
    except Exception as error:  # its text may hold rows of the dump
        frame = traceback.extract_tb(error.__traceback__)[-1]
        report({"crashed": f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"})


def remove_leftovers(task: dict[str, Any]) -> None:
    """Remove what killed drills have left on servers. Raises SandboxUnavailable."""
    from backups.drills.mysql import sandbox as mysql  # noqa: PLC0415
    from backups.drills.postgresql import sandbox as postgresql  # noqa: PLC0415

    try:
        postgresql.sweep(task)
    finally:
        mysql.sweep_databases(task)


def listen_to_parent() -> None:
    """Take its answers, and end when it does."""
    for line in sys.stdin:
        answers.put(json.loads(line))
    os._exit(1)


def ask_for_server() -> dict[str, str] | None:
    """Return the fields of a private PostgreSQL server, which the parent starts and keeps, or None without one."""
    report({"needs": outcomes.POSTGRESQL})
    return answers.get()


def report(line: dict[str, Any]) -> None:
    with reporting:
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()


def drill(task: dict[str, Any]) -> Outcome:
    """Restore the dump that the task names, and return what came back. Raises SandboxUnavailable."""
    limits = Limits(task["seconds"], task["max_bytes"] or None, task["folder"], task["reserve"])
    outcome, is_restored = Outcome(), False
    with open(task["descriptor"], "rb", buffering=0) as file:
        stream = DumpStream(file, task["name"], limits)
        try:
            with reporting_progress(stream):
                is_restored = restore_stream(stream, task, limits, outcome)
                for _rest in stream:
                    pass  # the doubts need the end, also of a dump that cannot be restored
            outcome.doubts, outcome.sha256 = list(stream.doubts()), stream.sha256
        except Aborted as error:
            if limits.reached == SPACE_IS_LOW:
                raise SandboxUnavailable("", SPACE_IS_LOW) from None
            outcome.fail(error.why)
        except (MemoryError, ScriptTooLong):
            outcome.fail(OUT_OF_MEMORY)
    outcome.conclude(is_restored=is_restored)
    return outcome


@contextmanager
def reporting_progress(stream: DumpStream) -> Iterator[None]:
    """Report now and then how much has been read, which also says that this process is at work."""
    done = threading.Event()

    def reporting_on() -> None:
        while not done.wait(REPORTED_EVERY):
            report({"read": stream.read})

    reporter = threading.Thread(target=reporting_on, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()


def restore_stream(stream: DumpStream, task: dict[str, Any], limits: Limits, outcome: Outcome) -> bool:
    """Restore the dump into a sandbox. Return False with a warning if none can.

    Raises Aborted and SandboxUnavailable.
    """
    kind = DumpKind(**task["kind"]) if task["kind"] else recognize(stream.peek(HEAD_BYTES))
    outcome.engine, outcome.version, outcome.format = kind.engine, kind.version, kind.format
    sandbox = open_sandbox(kind, task, limits)
    if sandbox is None:
        outcome.warn(NO_SANDBOX.get(kind.engine, "engine_unknown"))
        return False
    with closing(sandbox):
        return restore(sandbox, stream, outcome, [Assertion(**given) for given in task["assertions"]])


def restore(sandbox: Sandbox, stream: DumpStream, outcome: Outcome, assertions: list[Assertion]) -> bool:
    """Return False with a warning for a dump that this sandbox cannot restore. Raises Aborted at a limit."""
    outcome.restored_with, started = sandbox.version, time.monotonic()
    try:
        sandbox.restore(stream, outcome)
        outcome.duration_ms = round((time.monotonic() - started) * 1000)
    except Unsupported as error:
        outcome.warn(error.code, **error.values)
        return False
    sandbox.inspect(outcome)
    outcome.assertions = [evaluate(sandbox, assertion) for assertion in assertions]
    return True


def evaluate(sandbox: Sandbox, assertion: Assertion) -> dict[str, Any]:
    """Return the name of the assertion, whether it holds, and its value if that may be kept."""
    try:
        value = only_value(sandbox.evaluate(assertion.query))
    except (QueryFailed, NotOneValue) as error:
        why = NOT_ONE_VALUE if isinstance(error, NotOneValue) else error.why
        return {"name": assertion.name, "ok": False, "value": None, "error": why}
    return {
        "name": assertion.name,
        "ok": is_fulfilled(assertion, value, datetime.now(UTC)),
        "value": storable_value(value),
    }


if __name__ == "__main__":
    main()
