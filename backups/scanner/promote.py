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
    """Store the sealed copies of recorded verdicts, and remove dumps that a later one of their cycle replaces.

    Return the entries whose dumps were to be stored, changed but not saved.
    """
    entries = []
    for examined in batch:
        entry, history = examined.entry, examined.history
        if entry is None:
            continue
        if examined.copy is not None and examined.measured is not None:
            keep_alive()
            store_dump(history, entry, examined.copy, examined.measured.state)
            entries.append(entry)
        elif history.superseded:
            kept = {entry.stored_path} if entry.promotion in STORED else set()
            storage.remove_dumps(history.superseded - kept)
            history.superseded.clear()
    return entries


def store_dump(history: JobHistory, entry: BackupEntry, copy: DumpCopy, staged_state: tuple[int, ...]) -> None:
    plan = plan_storage(history, entry, staged_state)
    failure = storage.store_copy(copy, plan)
    history.superseded.clear()
    if failure is not None:
        mark_promotion(entry, Promotion.FAILED, failure)
    else:
        mark_stored(entry, plan)


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


def mark_promotion(entry: BackupEntry, promotion: str, reason: Reason | None = None) -> None:
    entry.promotion, entry.promotion_reason = promotion, reason


def mark_stored(entry: BackupEntry, plan: StoragePlan) -> None:
    entry.stored_path = plan.path
    mark_promotion(entry, Promotion.ARCHIVED if plan.is_version else Promotion.PROMOTED)


# --- Interrupted promotions ------------------------------------------------------------------------------------------


def resume_promotion(history: JobHistory, entry: BackupEntry, keep_alive: Callable[[], None]) -> None:
    """Continue storing a verified dump after a kill or a full disk."""
    if history.storage_refusal is not None:
        mark_promotion(entry, Promotion.FAILED, history.storage_refusal)
        return
    # An earlier dump of the same cycle may have left this file: its name would be taken once this one is a version.
    history.superseded = {StoragePlan(entry, is_version=True).path}
    try:
        continue_promotion(history, entry, keep_alive)
    finally:
        history.superseded.clear()


def continue_promotion(history: JobHistory, entry: BackupEntry, keep_alive: Callable[[], None]) -> None:
    plan = plan_storage(history, entry)
    is_in_place = storage.is_installed(plan, keep_alive)
    if is_in_place:
        storage.finish_installation(plan)
        mark_stored(entry, plan)
    try:
        _name, descriptor = open_staged_file(paths.dump_folder(history.job), [entry.staged_name], entry.server_size)
    except UnusablePath:
        if not is_in_place:
            mark_promotion(entry, Promotion.LOST, make_reason("staged_gone"))
        return
    with open(descriptor, "rb", buffering=0):
        store_staged_file(history, entry, descriptor, is_in_place, keep_alive)


def store_staged_file(
    history: JobHistory, entry: BackupEntry, descriptor: int, is_in_place: bool, keep_alive: Callable[[], None]
) -> None:
    """Store the staged file, or only remove it if the dump is in its place. It may have been replaced meanwhile."""
    is_same_size = os.fstat(descriptor).st_size == entry.server_size
    if is_in_place:
        if is_same_size:
            measured = measure_file(descriptor, keep_alive=keep_alive)
            if measured.sha256 == entry.server_sha256:
                storage.clear_staged_file(StoragePlan(entry, is_version=False, staged_state=measured.state))
        return
    if not is_same_size:
        mark_promotion(entry, Promotion.LOST, make_reason("staged_replaced"))
        return
    copy = DumpCopy.start(history.job, entry.staged_name, entry.server_size or 0)
    if copy.failure is not None:
        mark_promotion(entry, Promotion.FAILED, copy.failure)
        return
    with copying.discarding_on_failure(copy):
        measured = measure_file(descriptor, copy=copy.write, keep_alive=keep_alive)
    if measured.sha256 == entry.server_sha256:
        copy.seal()
        store_dump(history, entry, copy, measured.state)
    else:
        copy.discard()
        mark_promotion(entry, Promotion.LOST, make_reason("staged_replaced"))
