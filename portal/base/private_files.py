"""Files that only their owner may read: the data directory, what it holds, and SQLite's database.

DEPOSITS_ROOT and VALIDATED_ROOT are left alone: operators share them with other users, such as those of an SFTP server.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from portal.base.env import SQLITE

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH
# What is generated if no setting gives it.
GENERATED_SECRETS = ("SECRET_KEY", "TOKEN_PEPPER", "METRICS_TOKEN", "ENCRYPTION_KEY")
SECRETS = ("SECRET_KEY", "TOKEN_PEPPERS", "METRICS_TOKEN", "ENCRYPTION_KEYS")


def create_data_directory() -> None:
    """Create the data directory, its folders and the secrets that are kept in it. Raises ImproperlyConfigured.

    Roots elsewhere may be mounted: to create one while its disk is missing would hide that it is missing.
    """
    data = settings.VIGIE_DATA_DIR
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("static", "deposits", "validated", "reports"):
            (data / name).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise ImproperlyConfigured(f"VIGIE_DATA_DIR cannot be made: {data} ({error.strerror}).") from error
    for name in SECRETS:
        len(getattr(settings, name))  # generates it


def private_paths() -> Iterator[Path]:
    """Yield the data directory and what is directly in it: nobody reaches more once these are closed."""
    if not os.access(settings.VIGIE_DATA_DIR, os.R_OK | os.X_OK):  # not there yet, or another user's
        return
    yield settings.VIGIE_DATA_DIR
    shared = {settings.DEPOSITS_ROOT, settings.VALIDATED_ROOT, settings.STATIC_ROOT}
    with os.scandir(settings.VIGIE_DATA_DIR) as entries:
        yield from (Path(entry) for entry in entries if not entry.is_symlink() and Path(entry) not in shared)
    database = settings.DATABASES["default"]
    if database["ENGINE"] == SQLITE:
        name = Path(database["NAME"]).resolve()
        yield from (name.with_name(f"{name.name}{suffix}") for suffix in ("", "-wal", "-shm", "-journal"))


def is_exposed(path: Path) -> bool:
    """Return whether other users of this machine may enter, read or change what is there."""
    try:
        return bool(path.stat().st_mode & OTHERS)
    except FileNotFoundError:  # SQLite removes its files, and other processes theirs
        return False


def exposed_paths() -> list[Path]:
    return [path for path in dict.fromkeys(private_paths()) if is_exposed(path)]


def has_foreign_deposits() -> bool:
    """Return whether agents leave deposits as other users, such as by SFTP, in a root below the data directory."""
    data, root = settings.VIGIE_DATA_DIR, settings.DEPOSITS_ROOT
    if data not in root.parents:
        return False
    owner = data.stat().st_uid
    with contextlib.suppress(OSError), os.scandir(root) as folders:
        stats = (folder.stat(follow_symlinks=False) for folder in folders if folder.is_dir(follow_symlinks=False))
        return any(entry.st_uid != owner or entry.st_mode & OTHERS_WRITE for entry in stats)
    return False


def close_private_paths() -> None:
    """Take the rights of other users away, where the files are ours. A system check names what is left.

    The directory is closed before it is listed: nobody else can put a link in it meanwhile. Where others deposit below
    it, they may still pass through the directories above their deposits, since backups would be lost otherwise.
    """
    passages = set(settings.DEPOSITS_ROOT.parents) if has_foreign_deposits() else set()
    for path in private_paths():
        with contextlib.suppress(PermissionError, FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            closed = mode & ~(OTHERS & ~OTHERS_ENTER if path in passages else OTHERS)
            if closed != mode:
                path.chmod(closed)
