"""Decide where verified dumps are stored: as the current version, or among the versions.

`disk.storage` carries the decisions out. A dump in doubt goes to the versions where a better one is stored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from backups.models import BackupEntry
from backups.querysets import STORED
from backups.reasons import Reason, make_reason
from backups.scanner.disk import copying, paths, storage
from backups.scanner.disk.copying import DumpCopy
from backups.scanner.disk.opening import UnusablePath, open_staged_file
from backups.scanner.disk.storage import StoragePlan
from backups.scanner.examine import ExaminedCycle
from backups.scanner.job_history import JobHistory
from backups.scanner.verify import measure_file

Promotion = BackupEntry.Promotion


def promote_verified(batch: Iterable[ExaminedCycle], keep_alive: Callable[[], None]) -> list[BackupEntry]:
    """Store the sealed copies of recorded verdicts. Return their entries, changed but not saved."""
    entries = []
    for cycle in batch:
        entry = cycle.entry
        if entry is None:
            continue
        if cycle.copy is not None and cycle.measured is not None:
            keep_alive()
            entries.append(store_dump(cycle.history, entry, cycle.copy, cycle.measured.state))
        elif cycle.history.superseded:
            kept = {entry.stored_path} if entry.promotion in STORED else set()
            storage.remove_dumps(cycle.history.superseded - kept)
            cycle.history.superseded.clear()
    return entries


def store_dump(history: JobHistory, entry: BackupEntry, copy: DumpCopy, staged_state: tuple[int, ...]) -> BackupEntry:
    plan = plan_storage(history, entry, staged_state)
    path, failure = storage.store_copy(copy, plan)
    history.superseded.clear()
    if failure is not None:
        return mark_promotion(entry, Promotion.FAILED, failure)
    return mark_stored(entry, path, plan.is_version)


def plan_storage(history: JobHistory, entry: BackupEntry, staged_state: tuple[int, ...] | None = None) -> StoragePlan:
    return StoragePlan(
        entry,
        is_version=history.has_better(entry),
        version_names=choose_version_names(history),
        superseded=frozenset(history.superseded),
        staged_state=staged_state,
    )


def choose_version_names(history: JobHistory) -> dict[str, str]:
    """Map the file name of the current version to its name among the versions.

    A damaged version is not kept, nor is one that a later dump of its own cycle replaces: their names are empty.
    """
    entry = history.current
    names = {entry.staged_name: entry.version_name} if entry is not None and history.job.damage is None else {}
    return names | {path.rpartition("/")[2]: "" for path in history.superseded}


def mark_promotion(entry: BackupEntry, promotion: str, why: Reason | None = None) -> BackupEntry:
    entry.promotion, entry.promotion_reason = promotion, why
    return entry


def mark_stored(entry: BackupEntry, path: str, is_version: bool) -> BackupEntry:
    entry.stored_path = path
    return mark_promotion(entry, Promotion.ARCHIVED if is_version else Promotion.PROMOTED)


# --- Interrupted promotions ------------------------------------------------------------------------------------------


def resume_promotion(history: JobHistory, entry: BackupEntry, keep_alive: Callable[[], None]) -> BackupEntry:
    """Continue storing a verified dump after a kill or a full disk."""
    if history.storage_refusal is not None:
        return mark_promotion(entry, Promotion.FAILED, history.storage_refusal)
    # An earlier dump of the same cycle may have left this file: its name would be taken once this one is a version.
    history.superseded = {StoragePlan(entry, is_version=True).path}
    try:
        return continue_promotion(history, entry, keep_alive)
    finally:
        history.superseded.clear()


def continue_promotion(history: JobHistory, entry: BackupEntry, keep_alive: Callable[[], None]) -> BackupEntry:
    plan = plan_storage(history, entry)
    is_in_place = storage.is_installed(plan, keep_alive)
    if is_in_place:
        storage.finish_installation(plan)
        mark_stored(entry, plan.path, plan.is_version)
    try:
        _name, descriptor = open_staged_file(paths.dump_folder(history.job), [entry.staged_name], entry.server_size)
    except UnusablePath:
        return entry if is_in_place else mark_promotion(entry, Promotion.LOST, make_reason("staged_gone"))
    with open(descriptor, "rb", buffering=0):
        return store_staged_file(history, entry, descriptor, is_in_place, keep_alive)


def store_staged_file(
    history: JobHistory, entry: BackupEntry, descriptor: int, is_in_place: bool, keep_alive: Callable[[], None]
) -> BackupEntry:
    """Store the staged file, or only remove it if the dump is in its place. It may have been replaced meanwhile."""
    if os.fstat(descriptor).st_size != entry.server_size:
        return entry if is_in_place else mark_promotion(entry, Promotion.LOST, make_reason("staged_replaced"))
    copy = None if is_in_place else DumpCopy.start(history.job, entry.staged_name, entry.server_size or 0)
    if copy is not None and copy.failure is not None:
        return mark_promotion(entry, Promotion.FAILED, copy.failure)
    with copying.discarding_on_failure(copy):
        measured = measure_file(descriptor, copy=copy.write if copy else None, keep_alive=keep_alive)
    is_same = measured.sha256 == entry.server_sha256
    if copy is None:
        if is_same:
            storage.clear_staged_file(StoragePlan(entry, is_version=False, staged_state=measured.state))
        return entry
    if not is_same:
        copy.discard()
        return mark_promotion(entry, Promotion.LOST, make_reason("staged_replaced"))
    copy.seal()
    return store_dump(history, entry, copy, measured.state)
