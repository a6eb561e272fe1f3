"""Targets keep archives: each lists, takes and deletes files by name. A folder is one."""

import os
from pathlib import Path
from typing import Protocol

from portal.archives.errors import ArchiveError
from portal.base.files import sync_folder

UNFINISHED = ".part"


class Target(Protocol):
    """Each method raises ArchiveError, or OSError."""

    def workplace(self, scratch: Path) -> Path:
        """Return the folder in which an archive is to be made and proven before `put` takes it."""
        ...

    def names(self) -> list[str]: ...

    def put(self, path: Path, name: str) -> None:
        """Take the file under a new name: it is there as a whole, or not at all."""
        ...

    def delete(self, name: str) -> None: ...


class Folder:
    """A folder of this machine, such as a mounted disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def workplace(self, scratch: Path) -> Path:
        return self.path

    def names(self) -> list[str]:
        return [path.name for path in self.path.iterdir() if path.is_file()]

    def put(self, path: Path, name: str) -> None:
        path.rename(self.path / name)
        self.sync()

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)
        self.sync()

    def sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sync_folder(descriptor)
        finally:
            os.close(descriptor)


def open_target(text: str) -> Target:
    """Return the target that a command line or a setting names. Raises ArchiveError.

    The folder must exist: one that was made in place of a disk that is not mounted would hide that.
    """
    if "://" in text:
        raise ArchiveError("TARGET must be a folder.")
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise ArchiveError(f"The folder does not exist, or its disk is not mounted: {path}.")
    return Folder(path)
