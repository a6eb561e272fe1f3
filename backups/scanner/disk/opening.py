"""Open files and folders below the two roots without ever leaving them (TOCTOU-safe).

Agents own what lies below the deposit root and may put anything there. So every folder is opened relative to its parent
and must not be a link, and a file is opened without following links or blocking. O_NOFOLLOW alone would guard only the
last component of a path.
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
from django.db.models import Q

from agents.models import Agent
from backups.models import BackupEntry, ExpectedBackupJob
from backups.reasons import Reason, make_reason
from portal.base.files import sync_folder

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_FILES = 200_000
# Errors that say something about the file or folder itself. Any other (no descriptors left, a failing disk, a stale
# mount) is a fault of the server, and no evidence against the machine that deposits.
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
EVIDENCE = FORBIDDEN | {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG}


class UnusablePath(Exception):
    """A folder or file cannot be used; `why` is the reason."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why["code"])
        self.why = why

    @property
    def is_absence(self) -> bool:
        return self.why["code"] in ("file_absent", "folder_absent", "storage_absent")


def is_root_present() -> bool:
    """Return False for an empty deposit root if backups arrived before: its disk is not mounted."""
    try:
        with os.scandir(settings.DEPOSITS_ROOT) as entries:
            has_any = any(True for _entry in entries)
    except OSError:
        return False
    arrived = Q(last_verified_at__isnull=False) | Q(in_doubt=True)
    return has_any or not ExpectedBackupJob.objects.filter(arrived).exists()


# --- Folders ---------------------------------------------------------------------------------------------------------


@contextmanager
def open_folder(root: Path, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Yield a descriptor of the folder below the root. `make` creates missing folders, but never the root itself.

    Raises UnusablePath, or the OSError of a root that cannot be opened.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts, 1):
            with folder_errors_as_reasons("/".join(parts[:depth])):
                if make:
                    make_folder(part, descriptor)
                inner = os.open(part, FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_deposit_folder(parts: Sequence[str], *, make: bool = False, ignore_case: bool = True) -> Iterator[int]:
    """Yield a descriptor of a folder of deposits. The first part is a machine's name, matched in any case."""
    root = Path(settings.DEPOSITS_ROOT)
    first = find_folder_spelling(parts[0], root) if ignore_case and parts else None
    with open_folder(root, [first, *parts[1:]] if first else parts, make=make) as descriptor:
        yield descriptor


@contextmanager
def open_storage_folder(parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Yield a descriptor of a folder below the root of verified backups. Raises UnusablePath and OSError."""
    root = Path(settings.VALIDATED_ROOT)
    if make and not root.exists() and not BackupEntry.objects.stored().exists():
        # Only for the first backup ever. Later on, a missing root is a disk that is not mounted.
        root.mkdir(parents=True, mode=0o700, exist_ok=True)
    if not root.exists():
        raise UnusablePath(make_reason("storage_absent"))
    with open_folder(root, parts, make=make) as descriptor:
        yield descriptor


def find_folder_spelling(name: str, root: Path) -> str:
    """Return the name of the existing folder, compared without case. One of another machine is not used."""
    if os.path.lexists(root / name):
        return name
    found = min((entry for entry in os.listdir(root) if entry.lower() == name.lower()), default=name)
    return name if found != name and are_separate_machines(name, found) else found


def are_separate_machines(*names: str) -> bool:
    """Return True for two spellings that both are enrolled, or that both have expected backups."""
    enrolled = Agent.objects.filter(machine_id__in=names)
    expected = ExpectedBackupJob.objects.filter(agent_id__in=names).values("agent_id").distinct()
    return enrolled.count() > 1 or expected.count() > 1


def make_folder(name: str, parent: int) -> None:
    """Create a folder durably: a power cut that lost its name would lose everything in it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        sync_folder(parent)


@contextmanager
def folder_errors_as_reasons(folder: str) -> Iterator[None]:
    """Turn errors that say something about the folder into UnusablePath."""
    try:
        yield
    except FileNotFoundError:
        raise UnusablePath(make_reason("folder_absent", folder=folder)) from None
    except OSError as error:
        if error.errno not in EVIDENCE:
            raise
        code = "folder_unreadable" if error.errno in FORBIDDEN else "folder_not_plain"
        raise UnusablePath(make_reason(code, folder=folder)) from None


def list_names(folder: int, shown_as: str) -> list[str]:
    """List an open folder. Raises UnusablePath for one that holds more than MAX_FILES."""
    names = []
    with folder_errors_as_reasons(shown_as), os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MAX_FILES:
                raise UnusablePath(make_reason("too_many_files", folder=shown_as, limit=MAX_FILES))
    return names


# --- Files -----------------------------------------------------------------------------------------------------------


def open_file(name: str, folder: int) -> int:
    """Return a descriptor of a regular file. Raises UnusablePath."""
    try:
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise UnusablePath(make_reason("file_absent", name=name)) from None
    except OSError as error:
        if error.errno not in EVIDENCE:
            raise
        code = "file_unreadable" if error.errno in FORBIDDEN else "file_not_regular"
        raise UnusablePath(make_reason(code, name=name)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnusablePath(make_reason("file_not_regular", name=name))
    return descriptor


def open_staged_file(folder: tuple[str, ...], names: list[str], size: int | None) -> tuple[str, int]:
    """Open the staged dump: of the possible names the one with the claimed size, else the first. Raises UnusablePath.

    An agent that switched to another format leaves its last dump in the old one behind.
    """
    found: list[tuple[str, int]] = []
    trouble: UnusablePath | None = None
    with open_deposit_folder(folder) as descriptor:
        for name in names:
            try:
                found.append((name, open_file(name, descriptor)))
            except UnusablePath as error:
                if trouble is None or (trouble.is_absence and not error.is_absence):
                    trouble = error
    if not found:
        raise trouble or UnusablePath(make_reason("file_absent", name=""))
    chosen = next((pair for pair in found if os.fstat(pair[1]).st_size == size), found[0])
    for pair in found:
        if pair is not chosen:
            os.close(pair[1])
    return chosen


def read_content(name: str, folder: int, limit: int) -> bytes:
    """Read up to `limit` + 1 bytes of a regular file; the extra byte shows that there is more.

    Raises UnusablePath and OSError.
    """
    descriptor = open_file(name, folder)
    with open(descriptor, "rb", buffering=0) as file:
        parts, left = [], limit + 1
        while left and (part := file.read(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def file_state(found: os.stat_result) -> tuple[int, ...]:
    """Return what identifies a file and its state: device, inode, size, and both times in nanoseconds."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
