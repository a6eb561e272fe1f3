"""Temporary files that no kill leaves behind for ever: each is on record before it exists.

Every call that makes some has a record of its own in `directory`, locked for as long as it lives. The record of a dead
call is worked off by the next one, wherever its files lie: under their own names, which tell a living call's from a
dead one's, they couldn't be found again once the next call goes to another folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import uuid
from typing import Any

from vigie_client.disk.durable import BINARY, write_all
from vigie_client.disk.locks import FileLock
from vigie_client.disk.logs import log


class Temporaries:
    """The temporary files of this call, from `with` to its end. Making one sweeps those of the dead. Raises OSError."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.realpath(directory)
        self._record = os.path.join(self._directory, f"{uuid.uuid4().hex}.record")
        self._lock = FileLock(self._record)

    def __enter__(self) -> Temporaries:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with self._exclusive():
            _sweep(self._directory)
            self._lock.acquire()
        return self

    def __exit__(self, *_: Any) -> None:
        """What still lies about is a failure's: it goes."""
        try:
            with self._exclusive():
                done = _delete_recorded(self._record)
                if self._lock.release() and done:  # first: Windows deletes no open file
                    _unlink(self._record)
        except OSError as error:  # the next call's business, and no reason to forget how this one went
            log(logging.WARNING, "temporary files are left behind: %s", type(error).__name__)
        finally:
            self._lock.release()

    def create(self, path: str, mode: int) -> tuple[str, int]:
        """A new temporary file beside `path`: its own path, and a descriptor to write it by."""
        temporary = f"{path}.{uuid.uuid4().hex[:8]}.part"
        descriptor = os.open(self._record, os.O_WRONLY | os.O_APPEND | BINARY)
        try:
            write_all(descriptor, json.dumps(os.path.realpath(temporary)).encode() + b"\n")
        finally:
            os.close(descriptor)
        return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode)

    def _exclusive(self) -> FileLock:
        """Held while records appear, are worked off and go, so that none is seen between its making and its lock."""
        return FileLock(os.path.join(self._directory, "records.lock"))


def _sweep(directory: str) -> None:
    with os.scandir(directory) as entries:
        records = [entry.path for entry in entries if entry.name.endswith(".record")]
    for record in records:
        lock = FileLock(record)
        if lock.acquire(blocking=False):
            done = _delete_recorded(record)
            lock.release()
            if done:
                _unlink(record)


def _delete_recorded(record: str) -> bool:
    """Delete what `record` lists; False if something must wait for another time."""
    with open(record, "rb") as file:
        paths = [_path_in(line) for line in file]
    kept = [path for path in paths if path and not _gone(path)]
    return not kept


def _path_in(line: bytes) -> str:
    """A line that a kill has torn names nothing: its file was never made."""
    with contextlib.suppress(ValueError):
        path = json.loads(line)
        if isinstance(path, str) and path.endswith(".part"):
            return path
    return ""


def _gone(path: str) -> bool:
    """Delete `path`. A folder that isn't there may be a share that isn't mounted just now."""
    try:
        _unlink(path)
    except OSError:
        return False
    return os.path.isdir(os.path.dirname(path))


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
