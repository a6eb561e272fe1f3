"""File locks that the operating system releases at once when their process dies, however it dies."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Optional

# Open locks of this process, by descriptor. A forked child inherits them and would keep them held after its parent was
# killed: it closes its copies, which leaves the parent's locks untouched.
_open_locks: dict[int, FileLock] = {}


class FileLock:
    """An exclusive lock on the file at `path`, which is created if needed and never deleted.

    Two locks on one path exclude each other between processes and between threads. Not reentrant.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: Optional[int] = None

    def acquire(self, *, blocking: bool = True) -> bool:
        """Take the lock. Return False only if not `blocking` and a living process holds it.

        Raises OSError if the file cannot be opened or its file system has no locks.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        _open_locks[descriptor] = self
        self._descriptor = descriptor
        locked = False
        try:
            locked = _lock(descriptor, blocking=blocking)
        finally:
            if not locked:
                self._close()
        return locked

    def release(self) -> bool:
        """Release the lock. Return False if it was not held, as in a forked child."""
        if self._descriptor is None or _open_locks.get(self._descriptor) is not self:
            return False
        try:
            _unlock(self._descriptor)
        finally:
            self._close()
        return True

    def _close(self) -> None:
        if self._descriptor is not None:
            del _open_locks[self._descriptor]
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    # Windows prevents others from even reading locked bytes: lock one beyond any content.
    _LOCKED_BYTE = 2**30

    def _lock(descriptor: int, *, blocking: bool) -> bool:
        while True:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                if not blocking:
                    return False
                time.sleep(0.01)  # LK_LOCK would wait in whole seconds and give up after ten
            else:
                return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    # flock, not lockf: threads of a process share POSIX locks, and any close of the file drops them.
    def _lock(descriptor: int, *, blocking: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _close_inherited() -> None:
        for descriptor in list(_open_locks):
            os.close(descriptor)
        _open_locks.clear()

    os.register_at_fork(after_in_child=_close_inherited)
