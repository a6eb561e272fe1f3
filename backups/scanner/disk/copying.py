"""Write a verified dump durably: a hidden copy beside the current version, hard links, and copies where links fail."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from backups.models import ExpectedBackupJob
from backups.reasons import Reason, make_reason
from backups.scanner.disk import paths
from backups.scanner.disk.opening import UnusablePath, open_file, open_storage_folder

TEMPORARY = re.compile(r"\..*\.vigie-[0-9a-f]{16}\.part")
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Errors of a filesystem without hard links.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


# Tests replace it, to kill the process at a step of their choice.
step_reached: Callable[[str], None] = lambda step: None  # noqa: E731


@dataclass
class DumpCopy:
    """A dump on its way into its folder, under a hidden name that cannot be taken for a backup.

    `path` is where it belongs as the current version, below the root. `failure` is why there is no copy: the measure
    that feeds it continues without it.
    """

    folder: tuple[str, ...]
    name: str
    path: str
    descriptor: int = -1
    failure: Reason | None = None

    @classmethod
    def start(cls, job: ExpectedBackupJob, file_name: str, size: int, refusal: Reason | None = None) -> DumpCopy:
        """Start a copy of `size` bytes. `refusal` is why the job may store nothing."""
        folder = paths.storage_folder(job)
        copy = cls(
            folder,
            f".{file_name}.vigie-{secrets.token_hex(8)}.part",
            "/".join([*folder, paths.CURRENT, file_name]),
            failure=refusal,
        )
        if refusal is not None:
            return copy
        with copy.noting_failure(), open_storage_folder([*folder, paths.CURRENT], make=True) as current:
            remove_abandoned_copies(current)
            require_space(current, size)
            copy.descriptor = os.open(copy.name, WRITE_FLAGS, 0o600, dir_fd=current)
            step_reached("begun")
        return copy

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnusablePath) as error:
            self.failure = storage_reason(error)
            self.discard()

    def write(self, data: memoryview) -> None:
        if self.failure is None:
            with self.noting_failure():
                write_all(self.descriptor, data)

    def seal(self) -> None:
        if self.failure is None:
            with self.noting_failure():
                os.fsync(self.descriptor)
                self.close()
                step_reached("sealed")

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def discard(self) -> None:
        """Remove the copy, if it is still under its hidden name."""
        self.close()
        folder = [*self.folder, paths.CURRENT]
        with contextlib.suppress(OSError, UnusablePath), open_storage_folder(folder) as current:
            os.unlink(self.name, dir_fd=current)


@contextmanager
def discarding_on_failure(*copies: DumpCopy | None) -> Iterator[None]:
    """Leave no half-written copy and no descriptor behind when the block raises, KeyboardInterrupt included."""
    try:
        yield
    except BaseException:
        for copy in copies:
            if copy is not None:
                copy.discard()
        raise


def storage_reason(error: OSError | UnusablePath) -> Reason:
    if isinstance(error, UnusablePath):
        return error.why
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return make_reason("storage_full")
    return make_reason("storage_failed", error=error.strerror or type(error).__name__)


def write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def require_space(folder: int, size: int, reserve: int = 0) -> None:
    """Raise OSError(ENOSPC) if `size` bytes would leave less than `reserve` on the disk that others share."""
    disk = os.fstatvfs(folder)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < size + reserve:  # some network stores report no blocks
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove_abandoned_copies(folder: int) -> None:
    """Remove what a killed scan left half-written."""
    for name in list_files(folder):
        if TEMPORARY.fullmatch(name):
            os.unlink(name, dir_fd=folder)


def list_files(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


def list_dumps(folder: int) -> list[str]:
    return [name for name in list_files(folder) if paths.is_staged_name(name)]


def link_or_copy(name: str, source: int, target: int, target_name: str) -> None:
    """Give the file a second name by a hard link, or by a copy. If it is another file's, the inode is put before it."""
    if is_same_file(name, source, target_name, target):
        return
    inode = os.stat(name, dir_fd=source, follow_symlinks=False).st_ino
    is_taken = target_name in list_files(target)
    target_name = f"{inode}-{target_name}" if is_taken else target_name
    try:
        with contextlib.suppress(FileExistsError):
            os.link(name, target_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        copy_durably(name, source, target, target_name)


def is_same_file(name: str, folder: int, other: str, other_folder: int) -> bool:
    """Return True for one file, or for two with the same content: without hard links, an earlier copy."""
    try:
        with (
            open(open_file(name, folder), "rb") as first,
            open(open_file(other, other_folder), "rb") as second,
        ):
            if os.path.sameopenfile(first.fileno(), second.fileno()):
                return True
            if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
                return False
            return hashlib.file_digest(first, "sha256").digest() == hashlib.file_digest(second, "sha256").digest()
    except UnusablePath:
        return False


def copy_durably(name: str, source: int, target: int, target_name: str) -> None:
    temporary = f".{target_name}.vigie-{secrets.token_hex(8)}.part"
    remove_abandoned_copies(target)
    with (
        open(open_file(name, source), "rb", buffering=0) as old,
        open(os.open(temporary, WRITE_FLAGS, 0o600, dir_fd=target), "wb", buffering=0) as new,
    ):
        while os.sendfile(new.fileno(), old.fileno(), None, 1024 * 1024 * 1024):
            pass
        os.fsync(new.fileno())
    os.replace(temporary, target_name, src_dir_fd=target, dst_dir_fd=target)
