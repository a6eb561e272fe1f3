"""Destinations of deposits: a folder that the portal scans, or the portal itself."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from typing import Any, Optional, Protocol, Union

from vigie_client.contract import path_name
from vigie_client.deposits.errors import error_text
from vigie_client.deposits.packing import PackedFile
from vigie_client.deposits.temporary_files import TemporaryFiles
from vigie_client.deposits.uploads import Patience, TransferFailed, Uploader
from vigie_client.disk.durable import open_regular, rename_durably, sync_directory, write_all

DEPOSITS_PATH = "/api/v1/backups/deposits"


class DepositPlace(Protocol):
    """A destination: `DepositFolder` or `DepositPortal`."""

    def delivery(self, agent_id: str, temporary_files: TemporaryFiles) -> Delivery:
        """Start the delivery of one operation. Raises OSError if the place does not exist."""
        ...


class Delivery(Protocol):
    """The delivery of one operation, which never leaves a partial file under its final name."""

    mode: int
    """Mode of the temporary files, before the umask."""
    part_directory: str
    """Directory of the temporary files, from which they are delivered."""

    def send(self, part: str, name: str, packed: PackedFile) -> None:
        """Deliver the temporary file `part` as `name`. Raises TransferFailed."""
        ...

    def send_report(self, content: bytes, names: Iterator[str]) -> str:
        """Deliver the report and return its name, the first free one of `names`. Raises TransferFailed, OSError."""
        ...


class DepositFolder:
    """The folder at `path`, such as a mounted share or the source of an SFTP job.

    It must exist: a share that is not mounted must fail instead of filling the disk below it.
    """

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        self.path = os.path.abspath(os.fspath(path))

    def delivery(self, agent_id: str, temporary_files: TemporaryFiles) -> Delivery:
        if not os.path.isdir(self.path):
            raise NotADirectoryError(None, "the deposit folder isn't there")
        return _FolderDelivery(os.path.join(self.path, path_name(agent_id)), temporary_files)


class DepositPortal:
    """The portal at `base_url`, through a `session` that sends the machine's own token."""

    def __init__(self, base_url: str, session: Any, patience: Optional[Patience] = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.session = session
        self.patience = patience or Patience()

    def delivery(self, agent_id: str, temporary_files: TemporaryFiles) -> Delivery:
        return _PortalDelivery(self, temporary_files.directory)


class _FolderDelivery:
    mode = 0o666  # the umask decides who may read them

    def __init__(self, path: str, temporary_files: TemporaryFiles) -> None:
        self.part_directory = os.path.join(path, "database")
        self._log = os.path.join(path, "log")
        self._temporary_files = temporary_files
        os.makedirs(self.part_directory, exist_ok=True)
        os.makedirs(self._log, exist_ok=True)

    def send(self, part: str, name: str, packed: PackedFile) -> None:
        try:
            rename_durably(part, os.path.join(self.part_directory, name))
        except OSError as error:
            raise TransferFailed(error_text(error)) from None

    def send_report(self, content: bytes, names: Iterator[str]) -> str:
        part, descriptor = self._temporary_files.create(os.path.join(self._log, "report"), self.mode)
        try:
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return next(name for name in names if _link_unless_taken(part, os.path.join(self._log, name)))


class _PortalDelivery:
    mode = 0o600

    def __init__(self, place: DepositPortal, part_directory: str) -> None:
        self.part_directory = part_directory
        self._place = place
        self._uploader = Uploader(place.session, place.patience)

    def send(self, part: str, name: str, packed: PackedFile) -> None:
        self._uploader.put(self._url("database", name), lambda: open_regular(part), packed.size, packed.sha256)
        with contextlib.suppress(OSError):  # free the space early
            os.unlink(part)

    def send_report(self, content: bytes, names: Iterator[str]) -> str:
        name, sha256 = next(names), hashlib.sha256(content).hexdigest()
        self._uploader.put(self._url("log", name), lambda: io.BytesIO(content), len(content), sha256)
        return name

    def _url(self, kind: str, name: str) -> str:
        return f"{self._place.base_url}{DEPOSITS_PATH}/{kind}/{name}"


def _link_unless_taken(part: str, path: str) -> bool:
    """Move `part` to `path`, or return False if that name is taken. In between both names may exist, both complete."""
    try:
        if os.name == "nt":
            os.rename(part, path)
        else:
            os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: our own calls are locked out, and nobody else uses these names
        if os.path.lexists(path):
            return False
        rename_durably(part, path)
        return True
    sync_directory(path)
    return True
