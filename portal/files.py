"""Files that are there as a whole or not at all, whatever ends the process."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from django.utils.crypto import get_random_string

# What filesystems answer that cannot make a name durable.
NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


def write_whole(path: Path, text: str) -> None:
    """Takes the place of a file that is there; readable by its owner alone. A missing folder is not made.

    Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{get_random_string(8)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_folder(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: int) -> None:
    """Makes the names in it outlive a power cut, where the filesystem can. Takes its descriptor. Raises OSError."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
