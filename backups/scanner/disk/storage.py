"""The verified backups on disk: `{VALIDATED_ROOT}/{folder}/current_version/{file}`, and `versions/` beside it.

Only a scan that holds the lease of a machine writes below the folders of that machine's jobs.

A kill at any step of storing a dump leaves the old current version or the new one, whole:

1. the copy lies sealed beside the current version (`copying.DumpCopy`)
2. the old current version gets a second name, among the versions
3. the copy takes the place of the current version, in one rename
4. the staged file is removed, unless it has been replaced meanwhile

A dump that `promote` wants among the versions is renamed there in step 3, and the current version stays as it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backups.models import BackupEntry, ExpectedBackupJob
from backups.reasons import Reason, make_reason
from backups.scanner.disk import copying, paths
from backups.scanner.disk.copying import DumpCopy
from backups.scanner.disk.opening import UnusablePath, file_state, open_deposit_folder, open_file, open_storage_folder
from backups.scanner.verify import measure_file
from portal.base.files import sync_folder

log = logging.getLogger("vigie.backups")


@dataclass(frozen=True)
class StoragePlan:
    """The place of one verified dump, and what gives way to it.

    `version_names` are the names under which current versions move to the versions, by their present names; an empty
    one is not kept. `superseded` are stored paths that this dump replaces. `staged_state` is the state of the staged
    file that was verified; without it, step 4 is left out.
    """

    entry: BackupEntry
    is_version: bool
    version_names: Mapping[str, str] = field(default_factory=dict)
    superseded: frozenset[str] = frozenset()
    staged_state: tuple[int, ...] | None = None

    @property
    def folder(self) -> tuple[str, ...]:
        return paths.storage_folder(self.entry.job)

    @property
    def place(self) -> tuple[str, ...]:
        """The folders and the name of the dump, below the root."""
        if self.is_version:
            return (*self.folder, paths.VERSIONS, self.entry.version_name)
        return (*self.folder, paths.CURRENT, self.entry.staged_name)

    @property
    def path(self) -> str:
        return "/".join(self.place)


def store_copy(copy: DumpCopy, plan: StoragePlan) -> Reason | None:
    """Carry out steps 2 to 4 for a sealed copy. Return why it failed, if it did: the copy is then removed."""
    if copy.failure is None:
        try:
            if plan.is_version:
                install_version(copy, plan)
            else:
                install_current(copy, plan)
        except (OSError, UnusablePath) as error:
            copy.failure = copying.storage_reason(error)
    if copy.failure is not None:
        copy.discard()
        return copy.failure
    clear_staged_file(plan)
    remove_dumps(plan.superseded - {plan.path})
    return None


def install_current(copy: DumpCopy, plan: StoragePlan) -> None:
    """Carry out steps 2 and 3. Raises OSError and UnusablePath, with the old current version in place."""
    copying.step_reached("recorded")
    file_name = plan.entry.staged_name
    with open_storage_folder([*copy.folder, paths.CURRENT]) as current:
        former = copying.list_dumps(current)
        keep_as_versions(plan, current, former)
        copying.step_reached("archived")
        os.replace(copy.name, file_name, src_dir_fd=current, dst_dir_fd=current)
        copying.step_reached("replaced")
        remove_others(current, former, file_name)
    copying.step_reached("installed")


def install_version(copy: DumpCopy, plan: StoragePlan) -> None:
    """Rename the copy into the versions. Raises OSError and UnusablePath."""
    copying.step_reached("recorded")
    with (
        open_storage_folder([*copy.folder, paths.CURRENT]) as current,
        open_storage_folder([*copy.folder, paths.VERSIONS], make=True) as versions,
    ):
        os.replace(copy.name, plan.entry.version_name, src_dir_fd=current, dst_dir_fd=versions)
        sync_folder(versions)
        sync_folder(current)
    copying.step_reached("installed")


def keep_as_versions(plan: StoragePlan, current: int, names: Sequence[str]) -> None:
    """Give these current versions their second names."""
    kept = {name: plan.version_names.get(name, unrecorded_name(name, current)) for name in names}
    if any(kept.values()):
        with open_storage_folder([*plan.folder, paths.VERSIONS], make=True) as versions:
            for name, version_name in kept.items():
                if version_name:
                    copying.link_or_copy(name, current, versions, version_name)
            sync_folder(versions)


def remove_others(current: int, names: Sequence[str], file_name: str) -> None:
    for name in names:
        if name != file_name:
            os.unlink(name, dir_fd=current)
    sync_folder(current)


def unrecorded_name(name: str, folder: int) -> str:
    """Return a version name for a file without an entry: the same one however often this is repeated."""
    return f"unrecorded-{os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino}_{name}"


def clear_staged_file(plan: StoragePlan) -> None:
    """Carry out step 4: remove the staged file if it still is the one that was verified."""
    if plan.staged_state is None:
        return
    name = plan.entry.staged_name
    try:
        with open_deposit_folder(paths.dump_folder(plan.entry.job)) as staging:
            if file_state(os.stat(name, dir_fd=staging, follow_symlinks=False)) == plan.staged_state:
                os.unlink(name, dir_fd=staging)
    except (OSError, UnusablePath) as error:
        log.warning("a staged file could not be removed: %s", type(error).__name__)
    copying.step_reached("cleared")


# --- Interrupted installations ---------------------------------------------------------------------------------------


def is_installed(plan: StoragePlan, keep_alive: Callable[[], None]) -> bool:
    """Return True if the dump is in its place already, by size and SHA-256."""
    *folder, name = plan.place
    try:
        with open_storage_folder(folder) as parent:
            descriptor = open_file(name, parent)
    except UnusablePath:
        return False
    with open(descriptor, "rb", buffering=0) as file:
        has_size = os.fstat(file.fileno()).st_size == plan.entry.server_size
        return has_size and measure_file(descriptor, keep_alive=keep_alive).sha256 == plan.entry.server_sha256


def finish_installation(plan: StoragePlan) -> None:
    """Complete step 3 for a dump in its place: a former current version under another name becomes a version."""
    if not plan.is_version:
        with open_storage_folder([*plan.folder, paths.CURRENT]) as current:
            others = [name for name in copying.list_dumps(current) if name != plan.entry.staged_name]
            keep_as_versions(plan, current, others)
            remove_others(current, others, plan.entry.staged_name)
    remove_dumps(plan.superseded - {plan.path})


# --- Stored dumps ----------------------------------------------------------------------------------------------------


def remove_dumps(stored_paths: Iterable[str]) -> set[str]:
    """Remove stored dumps, and return the paths that are gone, including those that were gone already."""
    return {path for path in stored_paths if remove_dump(path)}


def remove_dump(path: str) -> bool:
    *folder, name = path.split("/")
    try:
        with open_storage_folder(folder) as descriptor, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=descriptor)
    except (OSError, UnusablePath) as error:
        if isinstance(error, UnusablePath) and error.why["code"] == "folder_absent":
            return True
        log.warning("an old version could not be removed: %s", type(error).__name__)
        return False
    return True


def open_dump(entry: BackupEntry) -> int:
    """Return a descriptor of an entry's stored dump. Raises UnusablePath."""
    *folder, name = entry.stored_path.split("/")
    try:
        with open_storage_folder(folder) as descriptor:
            return open_file(name, descriptor)
    except OSError:
        raise UnusablePath(make_reason("current_unreadable")) from None
    except UnusablePath as error:
        code = "current_absent" if error.is_absence else "current_unreadable"
        raise UnusablePath(make_reason(code)) from None


def is_dump_present(entry: BackupEntry) -> bool:
    """Return True if the stored dump has the size it was verified with."""
    try:
        with open(open_dump(entry), "rb", buffering=0) as file:
            return os.fstat(file.fileno()).st_size == entry.server_size
    except UnusablePath:
        return False


def open_current_version(job: ExpectedBackupJob) -> tuple[BackupEntry, int]:
    """Return the entry of the current version and a descriptor, which the caller closes. Raises UnusablePath."""
    entry = BackupEntry.objects.filter(job=job).current()
    if entry is None:
        raise UnusablePath(make_reason("current_absent"))
    return entry, open_dump(entry)
