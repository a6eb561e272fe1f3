"""Small writes to disk that are there, whole, after a kill or a power cut. Files are readable by their owner alone."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import Any, BinaryIO, Callable, Optional

BINARY = getattr(os, "O_BINARY", 0)
# What network shares say to syncing a directory, and a folder where one may write but not read to opening it.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)


def replace_file(path: str, data: bytes, *, protect: Optional[Callable[[str], None]] = None) -> None:
    """Make `data` the content of `path`: a reader sees the old content or the new, never a part.

    The caller holds a lock on `path`, since the temporary file beside it has a fixed name (so that a kill leaves at
    most one behind). `protect` is called with that name while it is still empty. Raises OSError.
    """
    temporary = path + ".tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
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
            os.unlink(temporary)  # on a full disk, half a file would take what is left
        raise


def rename_durably(temporary: str, path: str) -> None:
    """Rename `temporary`, whole and on the disk, to `path`, replacing what is there. Raises OSError."""
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
    """Make the name of `path` survive a power cut, where the system can."""
    if os.name == "nt":
        return  # a directory can't be opened there
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
    """On Windows a virus scanner may hold the target open for a moment."""
    for pause in (0.01, 0.05, 0.2, 0.5) if os.name == "nt" else ():
        try:
            os.replace(source, target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(source, target)
