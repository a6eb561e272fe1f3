"""Restore a dump in a process of its own, within limits, and read its report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from typing import Any

from django.conf import settings

from backups.drills.assertions import Assertion
from backups.drills.outcomes import FAILED, FATAL_DOUBTS, PROVEN, Outcome, SandboxUnavailable
from backups.drills.postgresql import cluster
from backups.drills.workspace import workspace
from portal.base import disks

# The child keeps its limits itself; one that hangs is killed this much later.
PATIENCE_SECONDS = 60
# It needs no secret of the portal.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
Progress = Callable[[int], None]


class PrivateServer:
    """The private PostgreSQL server of a run of drills, which is started when a dump needs it.

    Only a drill that is PROVEN leaves it to the next one, so no dump that fails can have harmed what follows.
    """

    def __init__(self) -> None:
        self.keeper: cluster.Keeper | None = None
        self.running = ExitStack()

    @property
    def address(self) -> cluster.Server | None:
        return self.keeper.server if self.keeper else None

    def start(self) -> cluster.Server | None:
        """Return the address, or None without the server's programs. Raises SandboxUnavailable.

        A server that has ended since the last drill is replaced.
        """
        if self.keeper and not self.keeper.is_alive():
            self.close()
        if self.keeper is None and (binaries := cluster.find_binaries()):
            folder = self.running.enter_context(workspace())
            keeper = cluster.Keeper(binaries, folder, lowest_priority(), cwd=settings.BASE_DIR, env=environment())
            self.keeper = self.running.enter_context(closing(keeper))
        return self.address

    def close(self) -> None:
        """Stop and remove the server. Another one can be started."""
        self.keeper = None
        self.running.close()


def restore_dump(
    descriptor: int,
    name: str,
    server: PrivateServer | None = None,
    assertions: Sequence[Assertion] = (),
    progress: Progress = lambda read: None,
    *,
    kind: dict[str, str] | None = None,
    seconds: int | None = None,
) -> Outcome:
    """Restore the open dump into the sandbox of its engine, and return what came back. Raises SandboxUnavailable.

    The `server` is closed unless the dump is PROVEN; without one, the drill has its own. `progress` is called with the
    bytes read so far; what it raises ends the drill. `kind` are the fields of a `DumpKind` for a script that does not
    say so itself.
    """
    outcome, used = None, server or PrivateServer()
    try:
        with workspace() as folder:
            task = {
                "descriptor": descriptor,
                "name": name,
                "folder": str(folder),
                "kind": kind,
                "seconds": seconds or settings.DRILL_TIMEOUT_SECONDS,
                "max_bytes": settings.DRILL_MAX_BYTES,
                "reserve": settings.DISK_RESERVE_MIB * disks.MIB,
                "postgres_url": settings.DRILL_POSTGRES_URL,
                "mysql_url": settings.DRILL_MYSQL_URL,
                "assertions": [asdict(assertion) for assertion in assertions],
            }
            outcome = run_task(task, descriptor, used, progress)
    finally:
        if server is None or outcome is None or outcome.status != PROVEN:
            used.close()
    return outcome


def run_task(task: dict[str, Any], descriptor: int, server: PrivateServer, progress: Progress) -> Outcome:
    """Raises SandboxUnavailable."""
    answer: dict[str, Any] = {}
    try:
        with running_child(task, descriptor) as child:
            answer = read_answer(child, server, progress)
            code = child.wait()
    finally:
        if not answer:  # it could not clean up
            sweep_leftovers(task, descriptor)
    if "unavailable" in answer:
        raise SandboxUnavailable(*answer["unavailable"])
    if "outcome" in answer:
        outcome = Outcome(**answer["outcome"])
        for doubt in sorted(FATAL_DOUBTS.intersection(outcome.doubts)):
            outcome.fail({"code": doubt})
        return outcome
    outcome = Outcome(status=FAILED)
    outcome.fail({"code": "ended_early", "how": answer.get("crashed") or describe_end(code)})
    return outcome


def sweep_leftovers(task: dict[str, Any], descriptor: int) -> None:
    """Let another child remove what a killed one has left on servers. What fails now is left to the next drill."""
    with running_child(task | {"sweep": True, "seconds": 0}, descriptor) as child:
        child.wait()


@contextmanager
def running_child(task: dict[str, Any], descriptor: int) -> Iterator[subprocess.Popen[str]]:
    """Start the child with its task. It is killed at the end of the block, and ends if this process does."""
    with subprocess.Popen(
        [*lowest_priority(), sys.executable, "-m", "backups.drills.child"],
        cwd=settings.BASE_DIR,
        env=environment() | {"SQLITE_TMPDIR": task["folder"]},  # read when SQLite is loaded
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # of libraries; it may quote rows
        pass_fds=(descriptor,),
        text=True,
        start_new_session=True,
    ) as child:
        timer = threading.Timer(task["seconds"] + PATIENCE_SECONDS, child.kill)
        timer.start()
        try:
            send(child, task)
            yield child
        finally:
            timer.cancel()
            child.kill()


def send(child: subprocess.Popen[str], line: Any) -> None:
    """Write a line of JSON to the child, unless it has ended: its last line, or none, says so."""
    assert child.stdin is not None  # noqa: S101 - a pipe was asked for
    with suppress(BrokenPipeError), open(os.dup(child.stdin.fileno()), "w", encoding="ascii") as pipe:
        pipe.write(f"{json.dumps(line)}\n")


def environment() -> dict[str, str]:
    """Return the variables that a process of a drill gets."""
    return {key: value for key, value in os.environ.items() if key in PASSED_ON}


def lowest_priority() -> list[str]:
    """Return what runs a command when nothing else needs processor or disk, as far as it is installed."""
    commands = (["nice", "-n", "19"], ["ionice", "-c", "3"])
    return [word for command in commands if shutil.which(command[0]) for word in command]


def read_answer(child: subprocess.Popen[str], server: PrivateServer, progress: Progress) -> dict[str, Any]:
    """Return the last line of the child, or nothing if it ended without one. Starts the server that it needs."""
    assert child.stdout is not None  # noqa: S101 - a pipe was asked for
    for line in child.stdout:
        found: dict[str, Any] = json.loads(line)
        if "needs" in found:
            address = server.start()
            send(child, asdict(address) if address else None)
        elif "read" in found:
            progress(found["read"])
        else:
            return found
    return {}


def describe_end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
