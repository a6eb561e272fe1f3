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
