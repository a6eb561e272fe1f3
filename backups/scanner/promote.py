"""Making a verified copy the current version. A kill at any step leaves the old current version or the new one, whole.

1. the copy lies sealed beside the current version
2. the old current version gets a second name, among the versions
3. the copy takes the place of the current version, in one step
4. the staged file is removed, unless it has been replaced meanwhile

A dump in doubt goes to the versions at once where a better one is stored: then the copy is renamed in step 3, and the
current version stays as it is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from backups.models import BackupEntry
from backups.querysets import STORED
from backups.reasons import Reason, reason
from backups.scanner import verify
from backups.scanner.disk import copying, opening, paths
from backups.scanner.disk.copying import Copy
from backups.scanner.examine import Judged, Past
from portal.base.files import sync_folder

log = logging.getLogger("vigie.backups")
Promotion = BackupEntry.Promotion


def install(copy: Copy, file_name: str, version_names: Mapping[str, str]) -> None:
    """Steps 2 and 3. `version_names` says under which name a current version goes to the versions.

    Raises OSError and Unusable, with the old current version in place.
    """
    copying.reached("recorded")
    with copying.opened([*copy.folder, copying.CURRENT]) as current:
        former = copying.dumps_in(current)
        keep_as_versions(copy.folder, current, former, version_names)
        copying.reached("archived")
        os.replace(copy.name, file_name, src_dir_fd=current, dst_dir_fd=current)
        copying.reached("replaced")
        drop_others(current, former, file_name)
    copying.reached("installed")


def install_version(copy: Copy, name: str) -> None:
    """Puts the copy among the versions under this name. Raises OSError and Unusable."""
    copying.reached("recorded")
    with (
        copying.opened([*copy.folder, copying.CURRENT]) as current,
        copying.opened([*copy.folder, copying.VERSIONS], make=True) as versions,
    ):
        os.replace(copy.name, name, src_dir_fd=current, dst_dir_fd=versions)
        sync_folder(versions)
        sync_folder(current)
    copying.reached("installed")


def keep_as_versions(
    folder: tuple[str, ...], current: int, names: Sequence[str], version_names: Mapping[str, str]
) -> None:
    """Gives these current versions their second names; one whose name is empty is not kept."""
    kept = {name: version_names.get(name, unrecorded(name, current)) for name in names}
    if any(kept.values()):
        with copying.opened([*folder, copying.VERSIONS], make=True) as versions:
            for name, version_name in kept.items():
                if version_name:
                    copying.link(name, current, versions, version_name)
            sync_folder(versions)


def drop_others(current: int, names: Sequence[str], file_name: str) -> None:
    for name in names:
        if name != file_name:
            os.unlink(name, dir_fd=current)
    sync_folder(current)


def finish_installing(past: Past, file_name: str) -> None:
    """What is left of step 3 where the new version is in place: one before it may have had another name."""
    folder = paths.storage_folder(past.job)
    with copying.opened([*folder, copying.CURRENT]) as current:
        others = [name for name in copying.dumps_in(current) if name != file_name]
        keep_as_versions(folder, current, others, version_names(past))
        drop_others(current, others, file_name)


def unrecorded(name: str, folder: int) -> str:
    """A file that no entry knows keeps its name, and gets the same one however often this is tried."""
    return f"unrecorded-{os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino}_{name}"


def clear(folder: tuple[str, ...], name: str, state: tuple[int, ...]) -> None:
    """Step 4: removes the staged file where it still is the one that was verified."""
    try:
        with opening.deposit_folder(folder) as staging:
            if verify.state_of(os.stat(name, dir_fd=staging, follow_symlinks=False)) == state:
                os.unlink(name, dir_fd=staging)
    except (OSError, opening.Unusable) as error:
        log.warning("a staged file stays where it is: %s", type(error).__name__)
    copying.reached("cleared")


def promote(judgements: Iterable[Judged], keep_alive: Callable[[], None]) -> list[BackupEntry]:
    """Stores the sealed copies of recorded verdicts. Their entries, changed but not saved."""
    entries = []
    for one in judgements:
        entry = one.past.entries.get(one.cycle.at)
        if entry is not None and one.copy is not None and one.measured is not None:
            keep_alive()
            entries.append(put_in_place(one.past, entry, one.copy, one.measured.state))
        elif entry is not None and one.past.superseded:
            drop_superseded(one.past, entry)
    return entries


def put_in_place(past: Past, entry: BackupEntry, copy: Copy, state: tuple[int, ...]) -> BackupEntry:
    """`state` is that of the staged file the copy is of."""
    place = copying.place_of(entry, is_version=past.has_better(entry))
    if copy.failure is None:
        try:
            if place.is_version:
                install_version(copy, place.name)
            else:
                install(copy, place.name, version_names(past))
        except (OSError, opening.Unusable) as error:
            copy.failure = copying.why(error)
    if copy.failure is not None:
        copy.discard()
        past.superseded.clear()
        return marked(entry, Promotion.FAILED, copy.failure)
    clear(paths.dump_folder(past.job), entry.staged_name, state)
    return stored_at(place, past, entry)


def marked(entry: BackupEntry, promotion: str, why: Reason | None = None) -> BackupEntry:
    entry.promotion, entry.promotion_reason = promotion, why
    return entry


def stored_at(place: copying.Place, past: Past, entry: BackupEntry) -> BackupEntry:
    entry.stored_path = place.path
    marked(entry, Promotion.ARCHIVED if place.is_version else Promotion.PROMOTED)
    drop_superseded(past, entry)
    return entry


def drop_superseded(past: Past, entry: BackupEntry) -> None:
    """Removes the dump that a later one of its own cycle replaced."""
    for path in past.superseded:
        if path != entry.stored_path or entry.promotion not in STORED:
            copying.remove(path)
    past.superseded.clear()


def version_names(past: Past) -> dict[str, str]:
    """Under which name the current version goes to the versions, by its present name; a damaged one is no version.

    Nor is one that a later dump of its own cycle replaces.
    """
    entry = past.current
    names = {entry.staged_name: entry.version_name} if entry is not None and past.job.damage is None else {}
    return names | {path.rpartition("/")[2]: "" for path in past.superseded}


def resume(past: Past, entry: BackupEntry, keep_alive: Callable[[], None]) -> BackupEntry:
    """Goes on where storing a verified dump was cut short: by a kill, or for want of space."""
    if past.refused is not None:
        return marked(entry, Promotion.FAILED, past.refused)
    # What an earlier dump of the same cycle may have left: the name would be taken once this one becomes a version.
    past.superseded = {copying.place_of(entry, is_version=True).path}
    try:
        return continued(past, entry, keep_alive)
    finally:
        past.superseded.clear()


def continued(past: Past, entry: BackupEntry, keep_alive: Callable[[], None]) -> BackupEntry:
    place = copying.place_of(entry, is_version=past.has_better(entry))
    is_in_place = is_installed(place, entry, keep_alive)
    if is_in_place:
        if not place.is_version:
            finish_installing(past, entry.staged_name)
        stored_at(place, past, entry)
    try:
        with opening.deposit_folder(paths.dump_folder(past.job)) as staging:
            descriptor = opening.opened_file(entry.staged_name, staging)
    except opening.Unusable:
        return entry if is_in_place else marked(entry, Promotion.LOST, reason("staged_gone"))
    with open(descriptor, "rb", buffering=0):
        return resumed(past, entry, descriptor, is_in_place, keep_alive)


def resumed(
    past: Past, entry: BackupEntry, descriptor: int, is_in_place: bool, keep_alive: Callable[[], None]
) -> BackupEntry:
    """With the staged file that is there now, which may be another one."""
    if os.fstat(descriptor).st_size != entry.server_size:
        return entry if is_in_place else marked(entry, Promotion.LOST, reason("staged_replaced"))
    copy = None if is_in_place else Copy.begin(past.job, entry.staged_name, entry.server_size or 0)
    if copy is not None and copy.failure is not None:
        return marked(entry, Promotion.FAILED, copy.failure)
    with copying.discarded_on_failure(copy):
        found = verify.measure(descriptor, copy=copy.write if copy else None, keep_alive=keep_alive)
    is_same = found.sha256 == entry.server_sha256
    if copy is None:
        if is_same:
            clear(paths.dump_folder(past.job), entry.staged_name, found.state)
        return entry
    if not is_same:
        copy.discard()
        return marked(entry, Promotion.LOST, reason("staged_replaced"))
    copy.seal()
    return put_in_place(past, entry, copy, found.state)


def is_installed(place: copying.Place, entry: BackupEntry, keep_alive: Callable[[], None]) -> bool:
    """Whether the dump is in its place already."""
    try:
        with copying.opened(place.folder) as folder:
            descriptor = opening.opened_file(place.name, folder)
    except opening.Unusable:
        return False
    with open(descriptor, "rb", buffering=0) as file:
        same_size = os.fstat(file.fileno()).st_size == entry.server_size
        return same_size and verify.measure(descriptor, keep_alive=keep_alive).sha256 == entry.server_sha256
