"""The verified backups on disk: `{VALIDATED_ROOT}/{folder}/current_version/{file}`, and `versions/` beside it.

Only a scan that holds the lease of a machine writes below the folders of that machine's jobs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from backups.models import BackupEntry, ExpectedBackupJob
from backups.reasons import Reason, reason
from backups.scanner.disk import opening, paths

log = logging.getLogger("vigie.backups")
CURRENT, VERSIONS = "current_version", "versions"
TEMPORARY = re.compile(r"\..*\.vigie-[0-9a-f]{16}\.part")
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What a filesystem says that knows no hard links.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def root() -> Path:
    return Path(settings.VALIDATED_ROOT)


def make_root() -> None:
    """Makes the root for the first backup ever. Later on, one that is gone is a disk that is not mounted."""
    if not root().exists() and not BackupEntry.objects.stored().exists():
        root().mkdir(parents=True, mode=0o700, exist_ok=True)


@contextmanager
def opened(parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """A folder below the root of verified backups. Raises Unusable and OSError."""
    if make:
        make_root()
    if not root().exists():
        raise opening.Unusable(reason("storage_absent"))
    with opening.opened_folder(root(), parts, make=make) as descriptor:
        yield descriptor


def why(error: OSError | opening.Unusable) -> Reason:
    """Why something could not be stored."""
    if isinstance(error, opening.Unusable):
        return error.why
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return reason("storage_full")
    return reason("storage_failed", error=error.strerror or type(error).__name__)


def nothing(step: str) -> None:
    """A test puts its own in place of this, to end the process at a step of its choice."""


reached: Callable[[str], None] = nothing


@dataclass
class Copy:
    """A dump on its way into its folder, under a name that nobody takes for a backup.

    `failure` is why there is none: the measure that feeds it goes on without.
    """

    folder: tuple[str, ...]
    name: str
    descriptor: int = -1
    failure: Reason | None = None

    @classmethod
    def begin(cls, job: ExpectedBackupJob, file_name: str, size: int, refused: Reason | None = None) -> Copy:
        """A copy of so many bytes. `refused` is why there must be none."""
        copy = cls(paths.storage_folder(job), f".{file_name}.vigie-{secrets.token_hex(8)}.part", failure=refused)
        if refused is not None:
            return copy
        with copy.noting_failure(), opened([*copy.folder, CURRENT], make=True) as current:
            sweep(current)
            refuse_without_room(current, size)
            copy.descriptor = os.open(copy.name, WRITE_FLAGS, 0o600, dir_fd=current)
            reached("begun")
        return copy

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        try:
            yield
        except (OSError, opening.Unusable) as error:
            self.failure = why(error)
            self.discard()

    def write(self, data: memoryview) -> None:
        if self.failure is None:
            with self.noting_failure():
                write_all(self.descriptor, data)

    def seal(self) -> None:
        """On disk for good, where it did not fail."""
        if self.failure is None:
            with self.noting_failure():
                os.fsync(self.descriptor)
                self.close()
                reached("sealed")

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def discard(self) -> None:
        """Once it is in place, or where it never came to be, there is nothing to discard."""
        self.close()
        with contextlib.suppress(OSError, opening.Unusable), opened([*self.folder, CURRENT]) as current:
            os.unlink(self.name, dir_fd=current)


@contextmanager
def discarded_on_failure(*copies: Copy | None) -> Iterator[None]:
    """Whatever ends the block early, be it for good, leaves no half of a copy and no descriptor behind."""
    try:
        yield
    except BaseException:
        for copy in copies:
            if copy is not None:
                copy.discard()
        raise


def write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def refuse_without_room(folder: int, size: int, reserve: int = 0) -> None:
    """Raises OSError for what would fill the disk but for `reserve` bytes: everybody else on it would fail as well."""
    disk = os.fstatvfs(folder)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < size + reserve:  # some network stores have no blocks at all
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sweep(folder: int) -> None:
    """Removes what a scan that was killed left half written."""
    for name in files_in(folder):
        if TEMPORARY.fullmatch(name):
            os.unlink(name, dir_fd=folder)


def files_in(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


def dumps_in(folder: int) -> list[str]:
    return [name for name in files_in(folder) if paths.is_staged_name(name)]


def link(name: str, source: int, target: int, target_name: str) -> None:
    """Makes the file known under a second name too; where another file has that, under one beside it."""
    if is_same(name, source, target_name, target):
        return
    inode = os.stat(name, dir_fd=source, follow_symlinks=False).st_ino
    taken = target_name in files_in(target)
    target_name = f"{inode}-{target_name}" if taken else target_name
    try:
        with contextlib.suppress(FileExistsError):
            os.link(name, target_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        duplicate(name, source, target, target_name)


def is_same(name: str, folder: int, other: str, other_folder: int) -> bool:
    """Whether both are one file, or two of the same content: where there are no links, a copy was made before."""
    try:
        with (
            open(opening.opened_file(name, folder), "rb") as one,
            open(opening.opened_file(other, other_folder), "rb") as two,
        ):
            if os.path.sameopenfile(one.fileno(), two.fileno()):
                return True
            if os.fstat(one.fileno()).st_size != os.fstat(two.fileno()).st_size:
                return False
            return hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(two, "sha256").digest()
    except opening.Unusable:
        return False


def duplicate(name: str, source: int, target: int, target_name: str) -> None:
    """What a link would be, as a file of its own."""
    temporary = f".{target_name}.vigie-{secrets.token_hex(8)}.part"
    sweep(target)
    with (
        open(opening.opened_file(name, source), "rb", buffering=0) as old,
        open(os.open(temporary, WRITE_FLAGS, 0o600, dir_fd=target), "wb", buffering=0) as new,
    ):
        while os.sendfile(new.fileno(), old.fileno(), None, 1024 * 1024 * 1024):
            pass
        os.fsync(new.fileno())
    os.replace(temporary, target_name, src_dir_fd=target, dst_dir_fd=target)


# --- What is stored --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a dump is stored, below the root."""

    folder: tuple[str, ...]
    name: str

    @property
    def is_version(self) -> bool:
        return self.folder[-1] == VERSIONS

    @property
    def path(self) -> str:
        return "/".join([*self.folder, self.name])


def place_of(entry: BackupEntry, *, is_version: bool) -> Place:
    """Where the dump of an entry belongs: as the current version, or among the versions."""
    folder = paths.storage_folder(entry.job)
    return (
        Place((*folder, VERSIONS), entry.version_name) if is_version else Place((*folder, CURRENT), entry.staged_name)
    )


def current_path(job: ExpectedBackupJob, name: str) -> str:
    """Where the current version of a job belongs, below the root."""
    return Place((*paths.storage_folder(job), CURRENT), name).path


def version_path(entry: BackupEntry) -> str:
    """Where an entry's dump is once it is no longer the current version of the folder it is in."""
    folder = entry.stored_path.split("/")[:-2]
    return "/".join([*folder, VERSIONS, entry.version_name])


def remove(path: str) -> bool:
    """Whether the file is gone; one that is gone already is."""
    *folder, name = path.split("/")
    try:
        with opened(folder) as descriptor, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=descriptor)
    except (OSError, opening.Unusable) as error:
        if isinstance(error, opening.Unusable) and error.why["code"] == "folder_absent":
            return True
        log.warning("an old version stays where it is: %s", type(error).__name__)
        return False
    return True


def opened_entry(entry: BackupEntry) -> int:
    """The dump of an entry. Raises Unusable."""
    *folder, name = entry.stored_path.split("/")
    try:
        with opened(folder) as descriptor:
            return opening.opened_file(name, descriptor)
    except OSError:
        raise opening.Unusable(reason("current_unreadable")) from None
    except opening.Unusable as error:
        absent = error.why["code"] in ("folder_absent", "storage_absent", "file_absent")
        raise opening.Unusable(reason("current_absent" if absent else "current_unreadable")) from None


def is_there(entry: BackupEntry) -> bool:
    """Whether the dump is there, with the size it was verified with."""
    try:
        with open(opened_entry(entry), "rb", buffering=0) as file:
            return os.fstat(file.fileno()).st_size == entry.server_size
    except opening.Unusable:
        return False


def opened_current(job: ExpectedBackupJob) -> tuple[BackupEntry, int]:
    """The current version: its entry, and an open descriptor, which the caller closes. Raises Unusable."""
    entry = BackupEntry.objects.filter(job=job).current()
    if entry is None:
        raise opening.Unusable(reason("current_absent"))
    return entry, opened_entry(entry)
