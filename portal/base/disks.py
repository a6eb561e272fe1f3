"""Free space of the file systems that the portal writes to, and errors that mean there is none."""

import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection

MIB = 1024 * 1024
# SQLite needs a few pages in two files before it can write a row.
MIN_FREE_BYTES = MIB
SQLITE_FULL, SQLITE_UNWRITABLE = 13, {10, 14}
POSTGRES_FULL = "53100"


@dataclass(frozen=True)
class Disk:
    """One file system, by the folders of the portal that lie on it; sizes in bytes."""

    folders: tuple[Path, ...]
    free: int
    size: int
    has_free_inodes: bool = True

    @property
    def is_full(self) -> bool:
        return self.free < MIN_FREE_BYTES or not self.has_free_inodes


def watched_folders() -> dict[str, Path]:
    """Return the watched folders by name. PostgreSQL's own disk shows only in its errors."""
    folders = {
        "data": Path(settings.VIGIE_DATA_DIR),
        "deposits": Path(settings.DEPOSITS_ROOT),
        "validated": Path(settings.VALIDATED_ROOT),
        "reports": Path(settings.REPORTS_ROOT),
    }
    if connection.vendor == "sqlite":
        folders["database"] = Path(connection.settings_dict["NAME"]).parent
    return folders


def find_disk(folder: Path) -> Disk | None:
    """Return the file system of the folder, or of the nearest existing one above it (`Disk.folders`).

    None if the file system does not say how full it is.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        stats = os.statvfs(folder)
    except OSError:
        return None
    if not stats.f_blocks:  # some network stores
        return None
    has_inodes = not stats.f_files or stats.f_favail > 0
    return Disk((folder,), stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize, has_inodes)


def list_disks() -> list[Disk]:
    """Return each file system once, with the topmost folders on it."""
    by_device: dict[int, Disk] = {}
    for folder in watched_folders().values():
        disk = find_disk(folder)
        if disk is None:
            continue
        device = disk.folders[0].stat().st_dev
        others = by_device[device].folders if device in by_device else ()
        if not any(folder.is_relative_to(other) for other in others):
            others = (*others, folder)
        by_device[device] = Disk(others, disk.free, disk.size, disk.has_free_inodes)
    return list(by_device.values())


def require_space(*needed: tuple[Path, int]) -> None:
    """Raise OSError (ENOSPC) unless so many bytes fit into the folders and leave DISK_RESERVE_MIB free."""
    by_device: dict[int, tuple[Disk, int]] = {}
    for folder, size in needed:
        if disk := find_disk(folder):
            device = disk.folders[0].stat().st_dev
            by_device[device] = disk, size + (by_device[device][1] if device in by_device else 0)
    for disk, size in by_device.values():
        if disk.free < size + settings.DISK_RESERVE_MIB * MIB:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(disk.folders[0]))


def is_full() -> bool:
    """Return True if the data directory or SQLite's database can't grow any more."""
    own = [folder for name, folder in watched_folders().items() if name in {"data", "database"}]
    return any(disk.is_full for disk in map(find_disk, own) if disk)


# --- Errors ----------------------------------------------------------------------------------------------------------


def means_full(error: BaseException) -> bool:
    """Return True if the error says that a disk is full: the database's or a folder's."""
    cause = error.__cause__ or error
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return code == SQLITE_FULL or (code in SQLITE_UNWRITABLE and is_full())
    return getattr(cause, "sqlstate", None) == POSTGRES_FULL


def describe_error(error: BaseException) -> str:
    """Describe an error for the log without its text, which might quote a value."""
    return "the disk is full" if means_full(error) else type(error).__name__
