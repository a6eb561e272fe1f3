"""Files that are there as a whole or not at all, whatever ends the process."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from django.utils.crypto import get_random_string

# What filesystems answer that cannot make a name durable.
NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
RANDOM = 8
# Nobody takes so long to write one: whoever began it was killed.
ABANDONED_AFTER_SECONDS = 3600


def write_whole(path: Path, content: str | bytes, *, replace: bool = True) -> None:
    """Write a file that its owner alone may read, in the place of an existing one unless `replace` is false.

    A text is written as UTF-8. The folder must exist. Temporary files of killed processes are deleted first. Raises
    OSError.
    """
    for unfinished in temporary_files(path):
        if is_abandoned(unfinished):
            unfinished.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{get_random_string(RANDOM)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder_at(path.parent)


def temporary_files(path: Path) -> Iterator[Path]:
    """List temporary files that are to replace this file, or were left by a killed process. Raises OSError."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[A-Za-z0-9]{{{RANDOM}}}")
    return (found for found in path.parent.iterdir() if name.fullmatch(found.name))


def is_abandoned(unfinished: Path) -> bool:
    try:
        return time.time() - unfinished.stat().st_mtime > ABANDONED_AFTER_SECONDS
    except FileNotFoundError:
        return False


def sync_folder_at(path: Path) -> None:
    """Make names in a folder outlive a power cut, as `sync_folder` does. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_folder(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: int) -> None:
    """Make names in the folder of this descriptor outlive a power cut, where the filesystem can. Raises OSError."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
