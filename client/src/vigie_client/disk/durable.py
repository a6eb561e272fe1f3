"""Durable, atomic writes of small files, which survive a kill or a power cut. Only the owner may read the files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import Any, BinaryIO, Callable, Optional

BINARY = getattr(os, "O_BINARY", 0)
# Errors of network shares when syncing a directory, and of folders that may be written but not read.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)


def remove_file(path: str) -> None:
    """Delete the file, if there is one. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def replace_file(path: str, data: bytes, *, protect: Optional[Callable[[str], None]] = None) -> None:
    """Replace the content of `path` atomically: a reader sees the old content or the new, never a part.

    The caller must hold a lock on `path`: the temporary file beside it has a fixed name, so that a kill leaves at most
    one behind. `protect` is called with that name while the file is still empty. Raises OSError.
    """
    temporary = path + ".tmp"
    remove_file(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o600)
    try:
        try:
            if protect is not None:
                protect(temporary)
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        rename_durably(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # half a file would fill up a full disk
        raise


def rename_durably(temporary: str, path: str) -> None:
    """Rename `temporary`, which is complete and synced, to `path`, replacing any file there. Raises OSError."""
    _replace(temporary, path)
    sync_directory(path)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def open_regular(path: Any) -> BinaryIO:
    """Open the file at `path` for reading. Raises OSError unless it is a regular file: opening a pipe could block."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")
    return open(path, "rb")


def sync_directory(path: str) -> None:
    """Sync the directory of `path`, so that its name survives a power cut, if the system supports it."""
    if os.name == "nt":
        return  # Windows cannot open a directory
    try:
        descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _replace(source: str, target: str) -> None:
    """Retry on Windows, as a virus scanner may hold the target open for a moment."""
    for pause in (0.01, 0.05, 0.2, 0.5) if os.name == "nt" else ():
        try:
            os.replace(source, target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(source, target)
