"""Deposits over HTTP: one file, streamed into the machine's own folder, checked as it comes, put in place whole.

Until its last byte is checked and on disk, a file has a hidden name that no scan reads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest

from agents import enrolment
from agents.models import Agent
from backups.scanner import report
from backups.scanner.disk import paths
from backups.scanner.disk.copying import WRITE_FLAGS, refuse_without_room, write_all
from backups.scanner.disk.opening import Unusable, deposit_folder
from portal.api.streams import UNREADABLE
from portal.base import disks
from portal.base.files import sync_folder
from portal.base.problems import Problem, invalid_field

log = logging.getLogger("vigie.backups")

# What the name of any deposit looks like; each area takes its own.
NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.(?:json|gz|zst|dump)"
REPORT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.json")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
LENGTH = re.compile(r"[0-9]{1,20}")
PART = re.compile(r"\.[A-Za-z0-9_-][A-Za-z0-9._-]*\.[0-9a-f]{16}\.part")
CHUNK = 1024 * 1024
# An upload writes all the time: a part that nobody wrote to for a day was left by a process that was killed.
LEFT_AFTER_SECONDS = 24 * 60 * 60
LONGEST_PAUSE_SECONDS = 60.0
MOST_AWAITED = max(1, settings.WEB_THREADS // 2)
# The machines whose bodies the threads of this process wait for.
AWAITED: set[int] = set()
AWAITED_LOCK = Lock()
RETRY_AFTER = {"Retry-After": "60"}
ROOT_ABSENT = "The folder of deposits is not there. Try again later."
FULL = "No space is left for the deposit. Try again later."
UNUSABLE = "The machine's folder of deposits cannot be used: an operator must look at it."
BUSY = "Too many large deposits are under way, or one of this machine. Try again later."
UNWRITTEN = "The deposit could not be written. Try again later."
NAMESAKE = "A machine enrolled earlier deposits into the folder that this machine's id leads to."


@dataclass(frozen=True)
class Area:
    """One of a machine's two folders: which names it takes of which machine, and how large a file at most."""

    is_name: Callable[[str, str], bool]
    expected: str
    limit: Callable[[], int]


def is_report_name(name: str, machine_id: str) -> bool:
    """Whether the scanner reads a report of this name: it would otherwise lie there unseen."""
    return REPORT_NAME.fullmatch(name) is not None and report.moment_in(name, machine_id) is not None


AREAS = {
    "log": Area(
        is_report_name,
        "OPERATION_YYYYMMDD_HHMM_{machine_id}.json is expected, or YYYYMMDD_HHMMSS_{machine_id}.json: no scan reads a"
        " report of any other name.",
        lambda: report.LARGEST,
    ),
    "database": Area(
        lambda name, _machine_id: paths.is_staged_name(name),
        "A plain name that ends in .gz, .zst or .dump is expected, of A-Z a-z 0-9 . _ -.",
        lambda: int(settings.DEPOSIT_MAX_BYTES),
    ),
}


@dataclass(frozen=True)
class Deposit:
    """A file as its sender announces it: what arrives must be that."""

    area: str
    name: str
    size: int
    sha256: str


def announced(area: str, name: str, agent: Agent, headers: Mapping[str, Any]) -> Deposit:
    """What the request says of its body; `headers` is its META. Raises Problem."""
    if area not in AREAS:
        raise Problem("not_found")
    if not AREAS[area].is_name(name, agent.machine_id):
        raise invalid_field("name", "pattern", AREAS[area].expected)
    sha256 = headers.get("HTTP_X_CONTENT_SHA256", "")
    if not SHA256.fullmatch(sha256):
        raise invalid_field(
            "X-Content-SHA256", "pattern" if sha256 else "required", "64 hexadecimal digits are expected."
        )
    length = headers.get("CONTENT_LENGTH") or ""
    if not LENGTH.fullmatch(length):
        raise Problem("length_mismatch")
    limit = AREAS[area].limit()
    if int(length) > limit:
        raise Problem("body_too_large", detail=f"A deposit of this kind may have {limit} bytes at most.")
    return Deposit(area, name, int(length), sha256.lower())


def receive(deposit: Deposit, agent: Agent, body: Any) -> None:
    """Stores what `body.read()` gives. Raises Problem, and then leaves everything as it was."""
    refuse_namesake(agent)
    folders = (paths.reduced(agent.machine_id), deposit.area)
    with on_disk(), deposit_folder(folders, make=True, in_any_case=agent.owns_name) as folder:
        sweep(folder)
        # The database may be on the same disk: a machine must not be able to silence the portal.
        refuse_without_room(folder, deposit.size, settings.DISK_RESERVE_MIB * disks.MIB)
        with part_in(folder, deposit.name) as (part, file):
            copy(body, file, deposit)
            os.fsync(file)
            os.replace(part, deposit.name, src_dir_fd=folder, dst_dir_fd=folder)
        sync_folder(folder)


@contextmanager
def awaited(request: HttpRequest, agent: Agent) -> Iterator[None]:
    """Wait for a body that the web server has not received whole, up to a minute at each pause of the sender.

    Such an upload may hold a thread for ever: half of them may be held, one by each machine. Raises not_ready.
    """
    connection = request.META.get("gunicorn.socket")
    if connection is None or not connection.incoming.is_left_to_view:
        yield
        return
    with AWAITED_LOCK:
        if agent.pk in AWAITED or len(AWAITED) >= MOST_AWAITED:
            raise Problem("not_ready", detail=BUSY, headers=RETRY_AFTER)
        AWAITED.add(agent.pk)
    try:
        connection.await_body(LONGEST_PAUSE_SECONDS)
        yield
    finally:
        with AWAITED_LOCK:
            AWAITED.remove(agent.pk)


# --- Whose folder it is ----------------------------------------------------------------------------------------------

MARK = re.compile("[_:]")
MOST_SPELLINGS = 256


def refuse_namesake(agent: Agent) -> None:
    """`a:b` and `a_b` lead to one folder: it belongs to the one that was enrolled first, even once uninstalled.

    Costs a query for ids with one of the two characters alone. Raises machine_mismatch.
    """
    if not MARK.search(agent.machine_id):
        return
    name = agent.machine_id.lower()
    alike = Agent.objects.filter(spelt_like(name)).exclude(name=name).order_by().values_list("pk", flat=True)
    if min(alike, default=agent.pk) < agent.pk:
        raise Problem("machine_mismatch", detail=NAMESAKE, subject=enrolment.machine_subject(agent.machine_id))


def spelt_like(name: str) -> Q:
    """The names that are reduced like this one: each is looked up, unless there are too many to name them."""
    words = MARK.split(name)
    if 2 ** (len(words) - 1) > MOST_SPELLINGS:
        return Q(name__regex=f"^{'[_:]'.join(map(re.escape, words))}$")
    marks = product("_:", repeat=len(words) - 1)
    return Q(name__in=["".join(map("".join, zip(words, (*chosen, ""), strict=True))) for chosen in marks])


# --- On disk ---------------------------------------------------------------------------------------------------------


@contextmanager
def on_disk() -> Iterator[None]:
    """What goes wrong with a folder is a matter for an operator, and for the sender one of time."""
    try:
        yield
    except Unusable as error:
        log.error("a deposit failed: %s", error)
        raise Problem("not_ready", detail=UNUSABLE, headers=RETRY_AFTER) from None
    except OSError as error:
        log.error("a deposit failed: %s", errno.errorcode.get(error.errno or 0, type(error).__name__))
        if disks.means_full(error):
            raise Problem("disk_full", detail=FULL, headers=RETRY_AFTER) from None
        raise Problem("not_ready", detail=sentence(error), headers=RETRY_AFTER) from None


def sentence(error: OSError) -> str:
    if error.errno in (errno.EISDIR, errno.ENOTDIR):
        return UNUSABLE
    return UNWRITTEN if Path(settings.DEPOSITS_ROOT).is_dir() else ROOT_ABSENT


@contextmanager
def part_in(folder: int, name: str) -> Iterator[tuple[str, int]]:
    """A file to write to, under a name of its own; gone with the block unless it was renamed."""
    part = f".{name}.{secrets.token_hex(8)}.part"
    file = os.open(part, WRITE_FLAGS, 0o600, dir_fd=folder)
    try:
        yield part, file
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise
    finally:
        os.close(file)


def copy(body: Any, file: int, deposit: Deposit) -> None:
    """Writes and hashes in one pass. Raises length_mismatch and checksum_mismatch."""
    digest, left = hashlib.sha256(), deposit.size
    while left:
        data = read(body, min(CHUNK, left))
        digest.update(data)
        write_all(file, memoryview(data))
        left -= len(data)
    if digest.hexdigest() != deposit.sha256:
        raise Problem("checksum_mismatch")


def read(body: Any, size: int) -> bytes:
    """At least one byte. A sender that went away is no trouble of the disk's."""
    try:
        data: bytes = body.read(size)
    except UNREADABLE:
        data = b""
    if not data:
        raise Problem("length_mismatch")
    return data


def sweep(folder: int) -> None:
    """Removes what uploads left half written whose process was killed."""
    with os.scandir(folder) as entries:
        parts = [entry.name for entry in entries if PART.fullmatch(entry.name)]
    for part in parts:
        with contextlib.suppress(OSError):
            found = os.stat(part, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_mtime < time.time() - LEFT_AFTER_SECONDS:
                os.unlink(part, dir_fd=folder)
