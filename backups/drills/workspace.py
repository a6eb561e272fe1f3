"""Folders in which restores work. Each is locked as long as it is used, so those of killed processes can be removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder, and remove it with what is in it."""
    root: Path = settings.VIGIE_DATA_DIR / "drills"
    root.mkdir(mode=0o700, exist_ok=True)
    with locked(root):
        remove_abandoned(root)
        folder = Path(tempfile.mkdtemp(dir=root))
        own = open_locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(own)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder, waiting for it. It ends with this process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def open_locked(folder: Path) -> int:
    """Return a descriptor that holds the lock of the folder. Raises BlockingIOError if another process does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def remove_abandoned(root: Path) -> None:
    for folder in root.iterdir():
        try:
            descriptor = open_locked(folder)
        except OSError:  # in use, removed meanwhile by whoever used it, or no folder
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
