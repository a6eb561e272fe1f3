"""Deposits over HTTP: stream one file into the machine's own folder, check it on the way, and rename it when complete.

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
from vigie_client.contract import path_name

from agents import enrolment
from agents.models import Agent
from backups.scanner import report
from backups.scanner.disk import paths
from backups.scanner.disk.copying import WRITE_FLAGS, require_space, write_all
from backups.scanner.disk.opening import UnusablePath, open_deposit_folder
from portal.api.bodies import UNREADABLE
from portal.base import disks
from portal.base.files import sync_folder
from portal.base.problems import Problem, invalid_field

log = logging.getLogger("vigie.backups")

# The name of any deposit, for the API's schema; each area accepts its own.
NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.(?:json|gz|zst|dump)"
REPORT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.json")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
LENGTH = re.compile(r"[0-9]{1,20}")
PART = re.compile(r"\.[A-Za-z0-9_-][A-Za-z0-9._-]*\.[0-9a-f]{16}\.part")
CHUNK = 1024 * 1024
# A running upload keeps writing: a part that is unchanged for a day was left by a killed process.
ABANDONED_AFTER_SECONDS = 24 * 60 * 60
LONGEST_PAUSE_SECONDS = 60.0
MAX_AWAITED = max(1, settings.WEB_THREADS // 2)
# The machines whose bodies a thread of this process is waiting for.
MACHINES_AWAITED: set[int] = set()
AWAITED_LOCK = Lock()
RETRY_AFTER = {"Retry-After": "60"}
ROOT_ABSENT = "The folder of deposits is not there. Try again later."
FULL = "No space is left for the deposit. Try again later."
UNUSABLE = "The machine's folder of deposits cannot be used: an operator must look at it."
BUSY = "Too many large deposits are under way, or one of this machine. Try again later."
UNWRITTEN = "The deposit could not be written. Try again later."
FOLDER_TAKEN = "A machine enrolled earlier deposits into the folder that this machine's id leads to."


@dataclass(frozen=True)
class Area:
    """One of a machine's two folders. `limit` is the largest file in bytes."""

    is_name: Callable[[str, str], bool]
    expected: str
    limit: Callable[[], int]


def is_report_name(name: str, machine_id: str) -> bool:
    """Return True if the scanner reads reports of this name."""
    return REPORT_NAME.fullmatch(name) is not None and report.moment_of_name(name, machine_id) is not None


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
    """A file as announced by its sender."""

    area: str
    name: str
    size: int
    sha256: str


def parse_announcement(area: str, name: str, agent: Agent, headers: Mapping[str, Any]) -> Deposit:
    """Read the announcement of a body from the request's META. Raises Problem."""
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


def store_deposit(deposit: Deposit, agent: Agent, body: Any) -> None:
    """Store the body, which has a `read(size)`. Raises Problem, with everything left as it was."""
    refuse_shared_deposit_folder(agent)
    folders = (path_name(agent.machine_id), deposit.area)
    with disk_errors_as_problems(), open_deposit_folder(folders, make=True, ignore_case=agent.owns_name) as folder:
        remove_abandoned_parts(folder)
        # The database may be on the same disk, which no machine may fill.
        require_space(folder, deposit.size, settings.DISK_RESERVE_MIB * disks.MIB)
        with part_file(folder, deposit.name) as (part, file):
            write_body(body, file, deposit)
            os.fsync(file)
            os.replace(part, deposit.name, src_dir_fd=folder, dst_dir_fd=folder)
        sync_folder(folder)


@contextmanager
def awaiting_body(request: HttpRequest, agent: Agent) -> Iterator[None]:
    """Wait for a body that the web server has not received completely, up to a minute per pause of the sender.

    Such an upload may hold a thread for ever, so each machine may hold one, and all together half of them.
    Raises not_ready.
    """
    connection = request.META.get("gunicorn.socket")
    if connection is None or not connection.incoming.is_left_to_view:
        yield
        return
    with AWAITED_LOCK:
        if agent.pk in MACHINES_AWAITED or len(MACHINES_AWAITED) >= MAX_AWAITED:
            raise Problem("not_ready", detail=BUSY, headers=RETRY_AFTER)
        MACHINES_AWAITED.add(agent.pk)
    try:
        connection.await_body(LONGEST_PAUSE_SECONDS)
        yield
    finally:
        with AWAITED_LOCK:
            MACHINES_AWAITED.remove(agent.pk)


# --- Shared folders --------------------------------------------------------------------------------------------------

SEPARATOR = re.compile("[_:]")
MAX_SHARED_NAMES = 256


def refuse_shared_deposit_folder(agent: Agent) -> None:
    """Raise machine_mismatch if another machine was enrolled first into the same folder, as `a:b` and `a_b` share one.

    Only ids with one of the two characters cost a query.
    """
    if not SEPARATOR.search(agent.machine_id):
        return
    name = agent.machine_id.lower()
    others = Agent.objects.filter(names_sharing_folder(name)).exclude(name=name).order_by().values_list("pk", flat=True)
    if min(others, default=agent.pk) < agent.pk:
        raise Problem("machine_mismatch", detail=FOLDER_TAKEN, subject=enrolment.machine_subject(agent.machine_id))


def names_sharing_folder(name: str) -> Q:
    """Select the names with the same folder name, by listing them unless there are too many."""
    words = SEPARATOR.split(name)
    if 2 ** (len(words) - 1) > MAX_SHARED_NAMES:
        return Q(name__regex=f"^{'[_:]'.join(map(re.escape, words))}$")
    separators = product("_:", repeat=len(words) - 1)
    return Q(name__in=["".join(map("".join, zip(words, (*chosen, ""), strict=True))) for chosen in separators])


# --- On disk ---------------------------------------------------------------------------------------------------------


@contextmanager
def disk_errors_as_problems() -> Iterator[None]:
    """Log errors of the disk for the operator, and ask the sender to try again later."""
    try:
        yield
    except UnusablePath as error:
        log.error("a deposit failed: %s", error)
        raise Problem("not_ready", detail=UNUSABLE, headers=RETRY_AFTER) from None
    except OSError as error:
        log.error("a deposit failed: %s", errno.errorcode.get(error.errno or 0, type(error).__name__))
        if disks.means_full(error):
            raise Problem("disk_full", detail=FULL, headers=RETRY_AFTER) from None
        detail = UNWRITTEN if Path(settings.DEPOSITS_ROOT).is_dir() else ROOT_ABSENT
        if error.errno in (errno.EISDIR, errno.ENOTDIR):
            detail = UNUSABLE
        raise Problem("not_ready", detail=detail, headers=RETRY_AFTER) from None


@contextmanager
def part_file(folder: int, name: str) -> Iterator[tuple[str, int]]:
    """Yield the name and descriptor of a new hidden file, which is removed if the block raises."""
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


def write_body(body: Any, file: int, deposit: Deposit) -> None:
    """Write and hash the body in one pass. Raises length_mismatch and checksum_mismatch."""
    digest, left = hashlib.sha256(), deposit.size
    while left:
        data = read_chunk(body, min(CHUNK, left))
        digest.update(data)
        write_all(file, memoryview(data))
        left -= len(data)
    if digest.hexdigest() != deposit.sha256:
        raise Problem("checksum_mismatch")


def read_chunk(body: Any, size: int) -> bytes:
    """Read at least one byte. Raises length_mismatch if the sender has gone."""
    try:
        data: bytes = body.read(size)
    except UNREADABLE:
        data = b""
    if not data:
        raise Problem("length_mismatch")
    return data


def remove_abandoned_parts(folder: int) -> None:
    """Remove the half-written files of killed uploads."""
    with os.scandir(folder) as entries:
        parts = [entry.name for entry in entries if PART.fullmatch(entry.name)]
    for part in parts:
        with contextlib.suppress(OSError):
            found = os.stat(part, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_mtime < time.time() - ABANDONED_AFTER_SECONDS:
                os.unlink(part, dir_fd=folder)
