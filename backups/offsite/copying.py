"""Copy one stored version to the store, verify a copy, and remove one. Each is recorded once the store has shown it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from django.db import transaction
from django.utils import timezone

from backups.models import BackupEntry, OffsiteCopy
from backups.offsite.retention import lock_end
from backups.scanner.disk.opening import UnusablePath
from backups.scanner.disk.storage import open_dump
from backups.scanner.scan import KeepAlive
from portal.egress import s3
from portal.egress.file_parts import FileParts, SourceChanged, measure_parts
from portal.work.jobs import Lease

# Errors of the file here, which say nothing about the store.
LOCAL_ABSENT, LOCAL_DIFFERS = "local_absent", "local_differs"
LOCAL_ERRORS = (LOCAL_ABSENT, LOCAL_DIFFERS)
# What a run may take before others get its worker. A file for which measuring alone takes longer gets as long again.
BUDGET_SECONDS = 120.0


class TimeUp(Exception):
    """The run has had its time; what it was uploading is resumed by the next."""


@dataclass
class Run:
    """One holder of the lease, its store, and the time it has."""

    store: s3.Store
    lease: Lease
    ends_at: float = field(default_factory=lambda: time.monotonic() + BUDGET_SECONDS)

    @property
    def place(self) -> str:
        return self.store.address.place

    @cached_property
    def has_lock(self) -> bool:
        return self.store.has_lock()

    @cached_property
    def keep_alive(self) -> Callable[[], None]:
        return KeepAlive(self.lease)

    def check_time(self) -> None:
        """Raises TimeUp and LeaseLost."""
        self.keep_alive()
        if time.monotonic() >= self.ends_at:
            raise TimeUp


def copy_key(entry: BackupEntry) -> str:
    """Return the key of an entry's copy, which stays the same when the current version becomes an earlier one."""
    return entry.path_as_version


def copy_version(copy: OffsiteCopy, run: Run) -> bool:
    """Copy a version, and return True once the store has it. Raises StoreError, TimeUp and LeaseLost.

    The whole file is measured first, so that nothing but what was verified leaves the portal.
    """
    entry = copy.entry
    began = time.monotonic()
    try:
        descriptor = open_dump(entry)
    except UnusablePath:
        return fail_locally(copy, LOCAL_ABSENT)
    with open(descriptor, "rb", buffering=0):
        try:
            parts = measure_parts(descriptor, run.keep_alive)
            if parts.sha256 != entry.server_sha256:
                return fail_locally(copy, LOCAL_DIFFERS)
            run.ends_at = max(run.ends_at, 2 * time.monotonic() - began)
            locked_until = lock_end(entry, timezone.now()) if run.has_lock else None
            found = upload(copy_key(entry), descriptor, parts, locked_until, run)
        except (OSError, SourceChanged):
            return fail_locally(copy, LOCAL_DIFFERS)
    record_copy(copy, found, parts, found.locked_until or locked_until, run)
    return True


def upload(key: str, source: int, parts: FileParts, locked_until: datetime | None, run: Run) -> s3.StoredObject:
    """Upload the file unless the store has it already, as after a kill. Raises StoreError."""
    try:
        return verify_object(key, parts, run)
    except s3.StoreError as error:
        if error.word not in (s3.NOT_FOUND, s3.ALTERED):
            raise
    run.store.put(key, source, parts, locked_until=locked_until, keep_alive=run.check_time)
    try:
        return verify_object(key, parts, run)
    except s3.StoreError as error:
        if error.word in (s3.NOT_FOUND, s3.ALTERED):
            raise s3.StoreError(s3.GARBAGE, "NotWhatWasPut") from None
        raise


def verify_object(key: str, parts: FileParts, run: Run) -> s3.StoredObject:
    return run.store.verify(
        key, size=parts.size, sha256=parts.sha256, checksum=parts.checksum, keep_alive=run.keep_alive
    )


def fail_locally(copy: OffsiteCopy, word: str) -> bool:
    """Record that the file here can't be copied, unless a scan has moved or replaced it meanwhile. Return False."""
    now = timezone.now()
    entry = BackupEntry.objects.filter(pk=copy.entry_id).first()
    same = entry is not None and (entry.stored_path, entry.server_sha256) == (
        copy.entry.stored_path,
        copy.entry.server_sha256,
    )
    rows = OffsiteCopy.objects.filter(pk=copy.pk)
    rows.update(tried_at=now)
    if same:
        changed = {"state": OffsiteCopy.State.FAILED, "error": word, "error_code": "", "failed_since": now}
        rows.exclude(error=word).update(**changed)
    return False


def record_copy(
    copy: OffsiteCopy, found: s3.StoredObject, parts: FileParts, locked_until: datetime | None, run: Run
) -> None:
    """Record a verified copy. Raises LeaseLost. What it takes the place of in the store is removed first."""
    is_replaced = copy.key != found.key or copy.version not in ("", found.version)
    if copy.key and copy.place == run.place and is_replaced:
        run.store.delete(copy.key, copy.version)
    now = timezone.now()
    with transaction.atomic():
        run.lease.extend()
        OffsiteCopy.objects.filter(pk=copy.pk).update(
            state=OffsiteCopy.State.COPIED,
            error="",
            error_code="",
            failed_since=None,
            tried_at=None,
            place=run.place,
            key=found.key,
            version=found.version,
            size=parts.size,
            sha256=parts.sha256,
            checksum=parts.checksum,
            etag=found.etag,
            copied_at=now,
            verified_at=now,
            was_read_back=found.checksum != parts.checksum,
            locked_until=locked_until,
        )


def verify_copy(copy: OffsiteCopy, run: Run) -> None:
    """Compare a copy with what was copied. One that is gone or changed is to be copied again. Raises StoreError."""
    rows, now = OffsiteCopy.objects.filter(pk=copy.pk), timezone.now()
    try:
        found = run.store.verify(
            copy.key, size=copy.size or 0, sha256=copy.sha256, checksum=copy.checksum, keep_alive=run.keep_alive
        )
    except s3.StoreError as error:
        if error.word not in (s3.NOT_FOUND, s3.ALTERED):
            raise
        rows.update(state=OffsiteCopy.State.PENDING, since=now, loss=error.word, lost_at=now)
    else:
        rows.update(verified_at=now, was_read_back=found.checksum != copy.checksum)


def remove_copy(copy: OffsiteCopy, run: Run) -> bool:
    """Remove a copy and its row; one that a lock keeps is left for later. Raises StoreError."""
    if copy.key and not run.store.delete(copy.key, copy.version):
        later = max(run.store.head(copy.key).locked_until or timezone.now(), timezone.now() + timedelta(days=1))
        OffsiteCopy.objects.filter(pk=copy.pk).update(locked_until=later)
        return False
    OffsiteCopy.objects.filter(pk=copy.pk).delete()
    return True
