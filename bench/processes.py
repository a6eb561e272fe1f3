"""The memory peak and CPU time of the web server's processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

# Linux's clock id of a process is ~pid << 3 | kind; this kind counts what the scheduler gave it.
SCHEDULED = 2


def growth_of_servers() -> Callable[[], int]:
    """Return a function that tells by how many bytes one of the processes grew at most since now."""
    before = {}
    for process in servers():
        (process / "clear_refs").write_text("5")  # the highest from now on
        before[process] = status(process, "VmRSS")
    return lambda: max(status(process, "VmHWM") - memory for process, memory in before.items())


def servers() -> list[Path]:
    return [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if is_ours(path)]


def is_ours(path: Path) -> bool:
    """Return True for gunicorn started by this process: others may run one too."""
    with contextlib.suppress(OSError):
        if b"gunicorn" in path.read_bytes():
            group = (path.parent / "stat").read_text().rpartition(")")[2].split()[2]
            return int(group) == os.getpgrp()
    return False


def status(process: Path, name: str) -> int:
    """Return a field of /proc/PID/status in bytes."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def cpu_of_servers() -> float:
    """Return the seconds that all processes have run, with those of threads that have ended."""
    return sum(time.clock_gettime(~int(process.name) << 3 | SCHEDULED) for process in servers())


# --- A process with all that it started ------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """Return the process and its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found


def shared_memory(pid: int) -> int:
    """Return the bytes of memory that they use together (PSS): each shared page counts once."""
    rollups = [Path(f"/proc/{each}/smaps_rollup").read_text() for each in descendants(pid)]
    return sum(int(rollup.partition("\nPss:")[2].split()[0]) * 1024 for rollup in rollups)


def cpu_seconds(pid: int) -> float:
    """Return the seconds that they have run, with those of children that have ended."""
    ticks = 0
    for each in descendants(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
