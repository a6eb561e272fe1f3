"""Deposit database backups: dump, pack and deliver them, then report each.

All dumps come first, in parallel with those of other calls. Then, one call at a time, the files are delivered and the
report last, so that the newest report always describes the file that is there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Callable, Optional, Union

from vigie_client.contract import path_name
from vigie_client.deposits.dumps import Dump
from vigie_client.deposits.errors import DumpFailed, error_text
from vigie_client.deposits.names import ReportNames
from vigie_client.deposits.packing import PackedFile, pack
from vigie_client.deposits.places import Delivery, DepositPlace
from vigie_client.deposits.report import Backup, DepositResult, serialize_report, summarize_backups
from vigie_client.deposits.temporary_files import TemporaryFiles
from vigie_client.deposits.uploads import TransferFailed
from vigie_client.disk.durable import write_all
from vigie_client.disk.locks import FileLock
from vigie_client.disk.logs import log

Clock = Callable[[], float]


def deposit(
    dumps: Sequence[Dump],
    place: DepositPlace,
    *,
    agent_id: str,
    state_dir: Union[str, os.PathLike[str]],
    dump_timeout: Optional[float] = None,
    now: Clock = time.time,
) -> DepositResult:
    """Back up these databases to `place`, in one operation with one report. One failure does not affect the others.

    `agent_id` is the machine's id as enrolled. `state_dir` keeps temporary files and the names of reports.
    `dump_timeout` is in seconds per command.

    Failures are part of the result and of the report. Raises ValueError, before anything runs, without dumps, if two
    databases would have the same file name, or if a command cannot run here; OSError if `state_dir` cannot be used.
    """
    backups = _plan_backups(dumps)
    with TemporaryFiles(os.path.join(os.fspath(state_dir), "deposits")) as temporary_files:
        try:
            delivery = place.delivery(agent_id, temporary_files)
        except OSError as error:
            why = error_text(error)
            for backup in backups:
                backup.transfer_error = why
            return summarize_backups(backups, None, why)
        operation = _Operation(agent_id, temporary_files, delivery, now)
        for backup in backups:
            operation.dump_to_part(backup, dump_timeout)
        with FileLock(os.path.join(temporary_files.directory, "delivery.lock")):
            return operation.deliver(backups)


class _Operation:
    """The steps of one call of `deposit`."""

    def __init__(self, agent_id: str, temporary_files: TemporaryFiles, delivery: Delivery, now: Clock) -> None:
        self._agent_id = agent_id
        self._temporary_files = temporary_files
        self._delivery = delivery
        self._now = now

    def dump_to_part(self, backup: Backup, timeout: Optional[float]) -> None:
        """Dump and pack one database into a temporary file, or keep the error."""
        backup.started = self._now_utc()
        path = os.path.join(self._delivery.part_directory, path_name(backup.name))
        try:
            backup.part, descriptor = self._temporary_files.create(path, self._delivery.mode)
            try:
                backup.packed = _pack_dump(backup.dump, descriptor, timeout)
            finally:
                os.close(descriptor)
        except DumpFailed as error:
            backup.dump_error = str(error)
        except OSError as error:
            backup.dump_error = f"the backup can't be written: {error_text(error)}"
        if backup.dump_error is not None:
            log(logging.ERROR, "%s: %s", backup.name, backup.dump_error)
            with contextlib.suppress(OSError):
                os.unlink(backup.part)
        backup.ended = self._now_utc()

    def deliver(self, backups: Sequence[Backup]) -> DepositResult:
        for backup in backups:
            if backup.packed is not None:
                self._send(backup, backup.packed)
        ended = self._now_utc()
        name_store = os.path.join(self._temporary_files.directory, "names.json")
        names = ReportNames(name_store).free_names(ended, self._agent_id)
        try:
            content = serialize_report(self._agent_id, ended, backups)
            return summarize_backups(backups, self._delivery.send_report(content, names))
        except (TransferFailed, OSError) as error:
            why = error_text(error) if isinstance(error, OSError) else str(error)
            log(logging.ERROR, "the report can't be delivered: %s", why)
            return summarize_backups(backups, None, why)

    def _send(self, backup: Backup, packed: PackedFile) -> None:
        try:
            self._delivery.send(backup.part, f"{path_name(backup.name)}.sql{packed.suffix}", packed)
        except TransferFailed as error:
            backup.transfer_error = str(error)
            log(logging.ERROR, "%s can't be delivered: %s", backup.name, error)

    def _now_utc(self) -> datetime:
        return datetime.fromtimestamp(self._now(), timezone.utc)


def _pack_dump(dump: Dump, descriptor: int, timeout: Optional[float]) -> PackedFile:
    name = "" if dump.file is None else os.path.basename(os.fspath(dump.file))
    with contextlib.closing(dump.content(timeout)) as chunks:
        packed = pack(chunks, partial(write_all, descriptor), name=name)
    os.fsync(descriptor)
    return packed


def _plan_backups(dumps: Sequence[Dump]) -> list[Backup]:
    if not dumps:
        raise ValueError("no database to deposit")
    for dump in dumps:
        dump.check()
    files = Counter(path_name(dump.database) for dump in dumps)
    duplicates = [name for name, count in files.items() if count > 1]
    if duplicates:
        raise ValueError(f"{', '.join(duplicates)}: given twice")
    return [Backup(dump.database, dump) for dump in dumps]
