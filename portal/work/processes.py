"""Processes by an identity that outlasts them: system, process id and moment of birth, for a process id is used again.

A system is one boot of a kernel and one process table of it: a container started anew is another, a host under another
name is the same. Its own processes are looked up in the process table; of another system this database knows when it
last showed a sign of life.
"""

import hashlib
import os
import socket
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from portal.models import Heartbeat
from portal.querysets import NODE


def this_system() -> str:
    """Return eight hexadecimal digits, a hash of boot and process table, or of the host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        table = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        boot, table = socket.gethostname(), 0
    return hashlib.sha256(f"{boot} {table}".encode()).hexdigest()[:8]


SYSTEM = this_system()
# Host name and system: people read the first, code compares the second.
HOST = f"{socket.gethostname()[:60]}/{SYSTEM}"
BEAT_EVERY = timedelta(seconds=2)
ZOMBIE_OR_DEAD = frozenset("ZX")


def start_time(pid: int) -> str | None:
    """Return when the process was started, in clock ticks since boot, or None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in ZOMBIE_OR_DEAD else fields[19]


def current_process() -> str:
    return f"{HOST}:{os.getpid()}:{start_time(os.getpid())}"


def host_of(identity: str) -> str:
    return identity.rpartition(":")[0].rpartition(":")[0]


def is_here(identity: str) -> bool:
    """Return True for a process of this system, dead or alive."""
    return host_of(identity).endswith(f"/{SYSTEM}")


def pid_here(identity: str) -> int | None:
    """Return the id of the process if it lives on this system."""
    pid = identity.rpartition(":")[0].rpartition(":")[2]
    is_alive = is_here(identity) and pid.isdigit() and start_time(int(pid)) == identity.rpartition(":")[2]
    return int(pid) if is_alive else None


def is_in_own_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return False


# --- Dead or alive ---------------------------------------------------------------------------------------------------


def node_component(host: str) -> str:
    """Return the name under which a system's heartbeats are kept."""
    return f"{NODE}{host.rpartition('/')[2]}"[:16]


def record_heartbeat() -> None:
    """Record a sign of life of this system; any part of the portal that runs on it does."""
    Heartbeat.objects.beat(node_component(HOST), HOST, every=BEAT_EVERY)


def dead_processes(identities: Iterable[str]) -> set[str]:
    """Return those of the processes that are dead: not in this system's process table, or of a silent system.

    A process of a system that never sent a heartbeat may be alive.
    """
    named = {identity for identity in identities if identity}
    has_table = start_time(os.getpid()) is not None
    dead = {identity for identity in named if has_table and is_here(identity) and pid_here(identity) is None}
    elsewhere = {identity: node_component(host_of(identity)) for identity in named if not is_here(identity)}
    silent = Heartbeat.objects.silent_nodes(elsewhere.values()) if elsewhere else set()
    return dead | {identity for identity, system in elsewhere.items() if system in silent}
