"""Making a verified copy the current version. A kill at any step leaves the old current version or the new one, whole.

1. the copy lies sealed beside the current version
2. the old current version gets a second name, among the versions
3. the copy takes the place of the current version, in one step
4. the staged file is removed, unless it has been replaced meanwhile
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping

from django.conf import settings

from backups import paths
from backups.models import BackupEntry, ExpectedBackupJob
from backups.reasons import Reason, reason
from backups.scanner import locate, store, verify
from backups.scanner.judge import Judged, Past
from backups.scanner.store import Copy

log = logging.getLogger("vigie.backups")
Promotion = BackupEntry.Promotion


def install(copy: Copy, file_name: str, version_names: Mapping[str, str]) -> None:
    """Steps 2 and 3. `version_names` says under which name a current version goes to the versions.

    Raises OSError and Unusable, with the old current version in place.
    """
    store.reached("recorded")
    with store.opened([*copy.folder, store.CURRENT]) as current:
        former = store.dumps_in(current)
        if former:
            with store.opened([*copy.folder, store.VERSIONS], make=True) as versions:
                for name in former:
                    store.link(name, current, versions, version_names.get(name) or unrecorded(name, current))
                os.fsync(versions)
        store.reached("archived")
        os.replace(copy.name, file_name, src_dir_fd=current, dst_dir_fd=current)
        store.reached("replaced")
        for name in former:
            if name != file_name:
                os.unlink(name, dir_fd=current)
        os.fsync(current)
    store.reached("installed")


def unrecorded(name: str, folder: int) -> str:
    """A file that no entry knows keeps its name, and gets the same one however often this is tried."""
    return f"unrecorded-{os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino}_{name}"


def clear(folder: tuple[str, ...], name: str, state: tuple[int, ...]) -> None:
    """Step 4: removes the staged file where it still is the one that was verified."""
    try:
        with locate.opened_folder(settings.DEPOSITS_ROOT, folder) as staging:
            if verify.state_of(os.stat(name, dir_fd=staging, follow_symlinks=False)) == state:
                os.unlink(name, dir_fd=staging)
    except (OSError, locate.Unusable) as error:
        log.warning("a staged file stays where it is: %s", type(error).__name__)
    store.reached("cleared")


def promote(judgements: Iterable[Judged], shared: Mapping[int, Reason]) -> list[BackupEntry]:
    """Makes the sealed copies of recorded verdicts the current versions. Their entries, changed but not saved.

    `shared` are jobs whose folder is another job's too.
    """
    return [
        put_in_place(one.past, one.past.entries[one.cycle.at], one.copy, one.measured.state, shared.get(one.job.pk))
        for one in judgements
        if one.copy is not None and one.measured is not None
    ]


def put_in_place(
    past: Past, entry: BackupEntry, copy: Copy, state: tuple[int, ...], refused: Reason | None
) -> BackupEntry:
    """`state` is that of the staged file the copy is of."""
    failure = copy.failure or refused
    if failure is None:
        try:
            install(copy, entry.staged_name, version_names(past))
        except (OSError, locate.Unusable) as error:
            failure = store.why(error)
    if failure is not None:
        copy.discard()
        return marked(entry, Promotion.FAILED, failure)
    clear(paths.dump_folder(past.job), entry.staged_name, state)
    return marked(entry, Promotion.PROMOTED)


def marked(entry: BackupEntry, promotion: str, why: Reason | None = None) -> BackupEntry:
    entry.promotion, entry.promotion_reason = promotion, why
    return entry


def version_names(past: Past) -> dict[str, str]:
    """Under which name the current version goes to the versions, by its present name."""
    current = [one for one in past.entries.values() if one.promotion == Promotion.PROMOTED]
    return {entry.staged_name: entry.version_name for entry in current}


def resume(past: Past, entry: BackupEntry, refused: Reason | None, keep_alive: Callable[[], None]) -> BackupEntry:
    """Goes on where storing a verified dump was cut short: by a kill, or for want of space."""
    job = past.job
    is_in_place = current_hash(job, entry.staged_name, keep_alive) == entry.server_sha256
    try:
        with locate.opened_folder(settings.DEPOSITS_ROOT, paths.dump_folder(job)) as staging:
            descriptor = locate.opened_file(entry.staged_name, staging)
    except locate.Unusable:
        gone = Promotion.LOST, reason("staged_gone")
        return marked(entry, Promotion.PROMOTED) if is_in_place else marked(entry, *gone)
    with open(descriptor, "rb", buffering=0):
        copy = None if is_in_place or refused else Copy.begin(paths.storage_folder(job), entry.staged_name)
        found = verify.measure(descriptor, copy=copy.write if copy else None, keep_alive=keep_alive)
    is_same = found.sha256 == entry.server_sha256
    if is_in_place:
        if is_same:
            clear(paths.dump_folder(job), entry.staged_name, found.state)
        return marked(entry, Promotion.PROMOTED)
    if copy is None:
        return marked(entry, Promotion.FAILED, refused)
    if not is_same:
        copy.discard()
        return marked(entry, Promotion.LOST, reason("staged_replaced"))
    copy.seal()
    return put_in_place(past, entry, copy, found.state, None)


def current_hash(job: ExpectedBackupJob, name: str, keep_alive: Callable[[], None]) -> str:
    """Of the current version, where it has this name; empty where there is none."""
    try:
        descriptor, found_name, _size = store.opened_current(job)
    except locate.Unusable:
        return ""
    with open(descriptor, "rb", buffering=0):
        return verify.measure(descriptor, keep_alive=keep_alive).sha256 if found_name == name else ""
