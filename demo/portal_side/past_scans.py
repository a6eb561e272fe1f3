"""Scan deposits as of a time in the past, one scan per line of the input."""

from __future__ import annotations

import sys
from datetime import datetime

from backups.scanner import orchestration


def main() -> None:
    """Scan for each line with a time and an agent, and print `done` after each scan."""
    for line in sys.stdin:
        time, agent = line.split()
        orchestration.scan_now(datetime.fromisoformat(time), agent)
        sys.stdout.write("done\n")
        sys.stdout.flush()
