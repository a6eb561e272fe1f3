"""Targets keep archives: each lists, takes, gives and deletes files by name. One is a folder, or a store by S3."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from django.conf import settings

from portal.archives.errors import ArchiveError
from portal.base.disks import require_space
from portal.base.files import sync_folder_at
from portal.egress.file_parts import measure_parts
from portal.egress.s3 import ALTERED, Store, StoreError, nothing
from portal.egress.store_address import StoreAddress, parse_store_url

UNFINISHED = ".part"


class Target(Protocol):
    """Keeps archives at a `place`, which holds no secret. Each method raises ArchiveError, or OSError."""

    @property
    def place(self) -> str: ...

    def workplace(self, scratch: Path) -> Path:
        """Return the folder in which an archive is to be made and proven before `put` takes it."""
        ...

    def sweep(self, is_own: Callable[[str], bool]) -> None:
        """Delete what killed processes left of files with such names."""
        ...

    def names(self) -> list[str]: ...

    def put(self, path: Path, name: str) -> None:
        """Take the file under a new name: it is there as a whole, or not at all."""
        ...

    def open(self, name: str) -> AbstractContextManager[Path]:
        """Yield the path of the file, or of a temporary copy."""
        ...

    def delete(self, name: str) -> None: ...


class Folder:
    """A folder of this machine, such as a mounted disk."""

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)

    def workplace(self, scratch: Path) -> Path:
        return self.path

    def sweep(self, is_own: Callable[[str], bool]) -> None:
        for unfinished in self.path.glob(f"*{UNFINISHED}"):
            if is_own(unfinished.name.removesuffix(UNFINISHED)):
                unfinished.unlink(missing_ok=True)

    def names(self) -> list[str]:
        return [path.name for path in self.path.iterdir() if path.is_file()]

    def put(self, path: Path, name: str) -> None:
        path.rename(self.path / name)
        sync_folder_at(self.path)

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        yield self.path / name

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)
        sync_folder_at(self.path)


@contextmanager
def report_store_errors() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise ArchiveError(f"The store of the portal's backups can't be used: {error}.") from None


class ArchiveStore:
    """A store that speaks S3. An upload is verified by the store's checksum, or by reading it back."""

    def __init__(self, address: StoreAddress) -> None:
        self.store, self.place = Store(address), address.place

    def workplace(self, scratch: Path) -> Path:
        return scratch

    def sweep(self, is_own: Callable[[str], bool]) -> None:
        with report_store_errors():
            for upload in list(self.store.uploads()):
                if is_own(upload.key):
                    self.store.abort(upload)

    def names(self) -> list[str]:
        with report_store_errors():
            return [found.key for found in self.store.list()]

    def put(self, path: Path, name: str) -> None:
        with report_store_errors(), path.open("rb") as file:
            parts = measure_parts(file.fileno(), nothing)
            self.store.put(name, file.fileno(), parts)
            try:
                self.store.verify(name, parts)
            except StoreError as error:
                if error.word == ALTERED:
                    self.store.delete(name)
                raise

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "archive")
            self.download(name, path)
            yield path

    def download(self, name: str, path: Path) -> None:
        with report_store_errors(), path.open("wb") as file:
            size = self.store.head(name).size
            require_space((path.parent, size))
            for chunk in self.store.read(name, size):
                file.write(chunk)

    def delete(self, name: str) -> None:
        """Delete an archive, unless a lock of the bucket keeps it."""
        with report_store_errors():
            self.store.delete(name)


def open_target(text: str) -> Target:
    """Return the target that a command line or a setting names. Raises ArchiveError.

    The folder must exist: one that was made in place of a disk that is not mounted would hide that.
    """
    if "://" in text:
        return ArchiveStore(parse_address(text))
    path = parse_folder(text)
    if not path.is_dir():
        raise ArchiveError(f"The folder does not exist, or its disk is not mounted: {path}.")
    return Folder(path)


def name_place(text: str) -> str:
    """Return the `place` of the target that a setting names, without looking for it. Raises ArchiveError."""
    return parse_address(text).place if "://" in text else str(parse_folder(text))


def parse_folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def parse_address(text: str) -> StoreAddress:
    try:
        return parse_store_url(text)
    except ValueError as error:
        raise ArchiveError(f"The address of the store can't be used: {error}.") from None


@contextmanager
def fetch_archive(text: str) -> Iterator[Path]:
    """Yield the path of an archive: a file, the name of one in PORTAL_BACKUP_TARGET, or an address in a store.

    Raises ArchiveError, OSError.
    """
    if "://" in text:
        address = parse_address(text)
        prefix, _, name = address.prefix.rpartition("/")
        found: AbstractContextManager[Path] = ArchiveStore(replace(address, prefix=prefix)).open(name)
    elif Path(text).exists() or not settings.PORTAL_BACKUP_TARGET:
        found = nullcontext(Path(text))
    else:
        found = open_target(settings.PORTAL_BACKUP_TARGET).open(text)
    with found as path:
        yield path
