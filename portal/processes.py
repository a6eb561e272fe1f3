"""Processes by an identity that outlasts them: host, process id and moment of birth, for a process id is used again."""

from __future__ import annotations

import os
import socket
from pathlib import Path

HOST = socket.gethostname()[:80]
ZOMBIE_OR_DEAD = frozenset("ZX")


def born(pid: int) -> str | None:
    """When the process was started, in clock ticks since boot; None for one that is no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in ZOMBIE_OR_DEAD else fields[19]


def myself() -> str:
    return f"{HOST}:{os.getpid()}:{born(os.getpid())}"


def pid_here(identity: str) -> int | None:
    """The id of the process where it lives on this host."""
    host, _, rest = identity.rpartition(":")[0].rpartition(":")
    pid = int(rest) if rest.isdigit() else 0
    return pid if host == HOST and born(pid) == identity.rpartition(":")[2] else None


def died(identity: str) -> bool:
    """Whether it surely is no more. Of a process on another host nobody here can tell."""
    return identity.startswith(f"{HOST}:") and pid_here(identity) is None


def in_our_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return False
