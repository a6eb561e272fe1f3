"""Finding files below the roots without ever leaving them.

Agents own what lies below the deposit root and may put anything there, so every folder is opened from the one above it
and none is a link, and a file is opened without following or waiting for it. O_NOFOLLOW alone guards the last
component only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from agents.models import Agent
from backups.models import ExpectedBackupJob
from backups.reasons import Reason, reason
from portal.base.files import sync_folder

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MOST_FILES = 200_000
# What tells of the file or folder itself. Everything else (no descriptors left, a disk that fails, a mount that went
# stale) is trouble of ours, and no evidence against whoever deposits.
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
EVIDENCE = FORBIDDEN | {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG}


class Unusable(Exception):
    """A folder or file cannot be used; `why` says so."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why["code"])
        self.why = why


@contextmanager
def opened_folder(root: Path, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder below the root. `make` makes what is missing below it, never the root itself.

    Raises Unusable, or the OSError of a root that cannot be opened.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts, 1):
            with named("/".join(parts[:depth])):
                if make:
                    make_folder(part, descriptor)
                inner = os.open(part, FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def deposit_folder(parts: Sequence[str], *, make: bool = False, in_any_case: bool = True) -> Iterator[int]:
    """A descriptor of a folder of deposits. Its first part is a machine's name, perhaps spelled in another case."""
    root = Path(settings.DEPOSITS_ROOT)
    first = spelled_there(parts[0], root) if in_any_case and parts else None
    with opened_folder(root, [first, *parts[1:]] if first else parts, make=make) as descriptor:
        yield descriptor


def spelled_there(name: str, root: Path) -> str:
    """The name itself if it is in the root, else one there that differs in case alone and is no other machine's."""
    if os.path.lexists(root / name):
        return name
    found = min((entry for entry in os.listdir(root) if entry.lower() == name.lower()), default=name)
    return name if found != name and are_two(name, found) else found


def are_two(*names: str) -> bool:
    """Whether two spellings are an old pair of machines: both enrolled, or both with backups of their own."""
    enrolled = Agent.objects.filter(machine_id__in=names)
    expected = ExpectedBackupJob.objects.filter(agent_id__in=names).values("agent_id").distinct()
    return enrolled.count() > 1 or expected.count() > 1


def make_folder(name: str, parent: int) -> None:
    """A folder whose name would not outlive a power cut would take along what is put into it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        sync_folder(parent)


@contextmanager
def named(folder: str) -> Iterator[None]:
    """What went wrong with a folder, as a reason."""
    try:
        yield
    except FileNotFoundError:
        raise Unusable(reason("folder_absent", folder=folder)) from None
    except OSError as error:
        if error.errno not in EVIDENCE:
            raise
        is_plain = error.errno in FORBIDDEN
        raise Unusable(reason("folder_unreadable" if is_plain else "folder_not_plain", folder=folder)) from None


def names_in(folder: int, shown: str) -> list[str]:
    """The names in an open folder. Raises Unusable for one that holds more than anybody deposits."""
    names = []
    with named(shown), os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MOST_FILES:
                raise Unusable(reason("too_many_files", folder=shown, limit=MOST_FILES))
    return names


def opened_file(name: str, folder: int) -> int:
    """A descriptor of a regular file. Raises Unusable."""
    try:
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise Unusable(reason("file_absent", name=name)) from None
    except OSError as error:
        if error.errno not in EVIDENCE:
            raise
        raise Unusable(
            reason("file_unreadable" if error.errno in FORBIDDEN else "file_not_regular", name=name)
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unusable(reason("file_not_regular", name=name))
    return descriptor


def content_of(name: str, folder: int, limit: int) -> bytes:
    """At most `limit` + 1 bytes of a regular file: one more tells that there is more. Raises Unusable and OSError."""
    descriptor = opened_file(name, folder)
    with open(descriptor, "rb", buffering=0) as file:
        parts, left = [], limit + 1
        while left and (part := file.read(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
