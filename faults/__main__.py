"""Run `make faults`: kills, outages and full disks, against real portals on both databases at once.

    make faults                     the short form, four minutes
    make faults ARGS=whole          longer loads, every part killed three times, an outage of ten minutes
    make faults ARGS="node disk"    only these experiments

Exits with 1 if a figure misses its limit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.legs import clean_environment

# Names of the experiments in `faults.experiments`, in their order.
NAMES = ("kills", "node", "outage", "disk", "scaling")
DATABASES = ("sqlite", "postgresql")
MAX_SECONDS_SHORT, MAX_SECONDS_WHOLE = 360, 3_600


def main() -> int:
    wanted = sys.argv[1:]
    unknown = set(wanted) - {*NAMES, "whole"}
    if unknown:
        sys.exit(
            f"There is no experiment called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}, and whole."
        )
    max_seconds = MAX_SECONDS_WHOLE if "whole" in wanted else MAX_SECONDS_SHORT
    deadline, codes = time.monotonic() + max_seconds, []
    with contextlib.ExitStack() as stack:
        legs = [stack.enter_context(start_leg(database, wanted)) for database in DATABASES]
        for database, (running, output) in zip(DATABASES, legs, strict=True):
            try:
                codes.append(running.wait(max(1.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                codes.append(1)
                sys.stdout.write(f"{database}: not done after {max_seconds} s\n")
            output.seek(0)
            sys.stdout.write(f"== {database}\n{output.read().decode()}")
            sys.stdout.flush()
    return max(codes)


@contextlib.contextmanager
def start_leg(database: str, wanted: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run the experiments on one database in a separate process and a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="vigie-faults-") as directory, tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "faults.leg", database, directory, *wanted]
        with subprocess.Popen(command, env=clean_environment(), stdout=output) as running:
            try:
                yield running, output
            finally:
                running.terminate()
                running.wait()
                kill_marked(f"VIGIE_DATA_DIR={directory}/".encode())


def kill_marked(marker: bytes) -> None:
    """Kill the processes with the marker in their environment."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
