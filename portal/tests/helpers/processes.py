"""Processes of servers, seen from outside."""

from __future__ import annotations

import os
from pathlib import Path


def processes_in(folder: Path) -> list[int]:
    """Return the ids of the processes that work in the folder, or whose command line names it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            works_in = Path(os.readlink(entry / "cwd").removesuffix(" (deleted)"))
            if works_in.is_relative_to(folder) or str(folder) in (entry / "cmdline").read_text(errors="replace"):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended
    return found
