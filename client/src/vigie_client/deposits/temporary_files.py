"""Temporary files that are deleted even after a kill: each is recorded before it is created.

Each call has a record file in `directory`, locked while the call lives. The next call deletes the files in the records
of dead calls, wherever they are. File names alone would not do: the next call may deposit to another folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import uuid
from typing import Any

from vigie_client.disk.durable import BINARY, remove_file, write_all
from vigie_client.disk.locks import FileLock
from vigie_client.disk.logs import log


class TemporaryFiles:
    """The temporary files of this call. Entering the `with` block deletes those of dead calls. Raises OSError."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.realpath(directory)
        self._record = os.path.join(self.directory, f"{uuid.uuid4().hex}.record")
        self._lock = FileLock(self._record)

    def __enter__(self) -> TemporaryFiles:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        with self._exclusive():
            _sweep(self.directory)
            self._lock.acquire()
        return self

    def __exit__(self, *_: Any) -> None:
        """Delete what failures left behind."""
        try:
            with self._exclusive():
                done = _delete_recorded(self._record)
                if self._lock.release() and done:  # before unlink: Windows cannot delete an open file
                    remove_file(self._record)
        except OSError as error:  # the next call deletes them; this one's result must not be lost
            log(logging.WARNING, "temporary files are left behind: %s", type(error).__name__)
        finally:
            self._lock.release()

    def create(self, path: str, mode: int) -> tuple[str, int]:
        """Create a temporary file beside `path`. Return its path and a descriptor to write to."""
        temporary = f"{path}.{uuid.uuid4().hex[:8]}.part"
        descriptor = os.open(self._record, os.O_WRONLY | os.O_APPEND | BINARY)
        try:
            write_all(descriptor, json.dumps(os.path.realpath(temporary)).encode() + b"\n")
        finally:
            os.close(descriptor)
        return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode)

    def _exclusive(self) -> FileLock:
        """Return the lock for creating and deleting records, so that none is visible before it is locked."""
        return FileLock(os.path.join(self.directory, "records.lock"))


def _sweep(directory: str) -> None:
    with os.scandir(directory) as entries:
        records = [entry.path for entry in entries if entry.name.endswith(".record")]
    for record in records:
        lock = FileLock(record)
        if lock.acquire(blocking=False):
            done = _delete_recorded(record)
            lock.release()
            if done:
                remove_file(record)


def _delete_recorded(record: str) -> bool:
    """Delete the files in `record`. Return False if any of them must be retried."""
    with open(record, "rb") as file:
        paths = [_parse_path(line) for line in file]
    kept = [path for path in paths if path and not _delete_file(path)]
    return not kept


def _parse_path(line: bytes) -> str:
    """Parse a line of a record. A line torn by a kill gives "": its file was never created."""
    with contextlib.suppress(ValueError):
        path = json.loads(line)
        if isinstance(path, str) and path.endswith(".part"):
            return path
    return ""


def _delete_file(path: str) -> bool:
    """Delete `path`. Return False to retry, as an absent folder may be a share that is not mounted."""
    try:
        remove_file(path)
    except OSError:
        return False
    return os.path.isdir(os.path.dirname(path))
