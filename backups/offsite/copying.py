"""Copy one stored version to the store, verify a copy, and remove one. Each is recorded once the store has shown it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from backups.models import BackupEntry, OffsiteCopy
from backups.offsite import retention
from backups.querysets import STORED
from backups.scanner.disk.opening import UnusablePath, open_file, open_storage_folder
from backups.scanner.scan import KeepAlive
from portal.egress import s3
from portal.egress.file_parts import FileParts, SourceChanged, measure_parts, rebuild_parts
from portal.work.jobs import Lease

LOCAL_ABSENT, LOCAL_DIFFERS, LOCAL_UNREADABLE = "local_absent", "local_differs", "local_unreadable"
# A run ends after this time, so that scans and drills get its worker.
BUDGET_SECONDS = 120.0
# What failed is tried again after as long as it has been failing, within these limits.
RETRY_FROM, RETRY_UP_TO = timedelta(minutes=10), timedelta(hours=6)
# A lock that is still there and a lost object are looked for once a day.
DAY = timedelta(days=1)
NO_FAILURE: dict[str, Any] = {"error": "", "error_code": "", "failed_since": None}
State = OffsiteCopy.State


class TimeUp(Exception):
    """The run has had its time; what it was uploading or reading back is resumed by the next."""


class LocalError(Exception):
    """The stored file can't be sent: it is absent, or another than was verified, or can't be read by this machine."""

    def __init__(self, word: str, code: str = "") -> None:
        super().__init__(f"{word} ({code})" if code else word)
        self.word, self.code = word, code


@dataclass
class Run:
    """One holder of the lease, its store, the time it has, and the copies that it has verified."""

    store: s3.Store
    lease: Lease
    ends_at: float = field(default_factory=lambda: time.monotonic() + BUDGET_SECONDS)
    verified: set[int] = field(default_factory=set)

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


# --- Copying ---------------------------------------------------------------------------------------------------------


def copy_version(copy: OffsiteCopy, run: Run) -> None:
    """Copy a version. Raises StoreError, LocalError, TimeUp and LeaseLost.

    The whole file is measured first, so that nothing but what was verified leaves the portal.
    """
    entry = copy.entry
    try:
        with open(open_stored(entry), "rb", buffering=0) as source:
            parts = known_parts(copy) if copy.sha256 == entry.server_sha256 else None
            if parts is None:
                parts = measure_version(copy, source.fileno(), run)
            locked_until = retention.lock_end(entry, timezone.now()) if run.has_lock else None
            found = upload(copy, source.fileno(), parts, locked_until, run)
    except SourceChanged:
        raise LocalError(LOCAL_DIFFERS) from None
    except OSError as error:
        raise LocalError(LOCAL_UNREADABLE, errno.errorcode.get(error.errno or 0, "")) from None
    record_copy(copy, found, parts, run, copied_at=timezone.now(), locked_until=found.locked_until or locked_until)


def open_stored(entry: BackupEntry) -> int:
    """Return a descriptor of the stored file. Raises LocalError, and OSError for a fault of this machine."""
    *folder, name = entry.stored_path.split("/")
    try:
        with open_storage_folder(folder) as descriptor:
            return open_file(name, descriptor)
    except UnusablePath as error:
        code = error.why["code"]
        is_mounted = code != "storage_absent" and bool(os.listdir(settings.VALIDATED_ROOT))
        if code in ("file_unreadable", "folder_unreadable") or not is_mounted:
            raise LocalError(LOCAL_UNREADABLE) from None
        raise LocalError(LOCAL_ABSENT) from None


def known_parts(copy: OffsiteCopy) -> FileParts | None:
    """Return the parts that were measured when the version was, or is to be, copied."""
    return rebuild_parts(copy.size or 0, copy.sha256, bytes(copy.digests or b""))


def measure_version(copy: OffsiteCopy, source: int, run: Run) -> FileParts:
    """Measure a file and keep what was measured: a file that takes several runs is measured once."""
    parts = measure_parts(source, run.keep_alive)
    if parts.sha256 != copy.entry.server_sha256:
        raise LocalError(LOCAL_DIFFERS)
    if len(parts.digests) > 1:
        run.store.abort_uploads(copy_key(copy.entry))  # of another file
    measured = {"size": parts.size, "sha256": parts.sha256, "digests": b"".join(parts.digests), "read_parts": 0}
    OffsiteCopy.objects.filter(pk=copy.pk).update(**measured)
    copy.read_parts = 0
    run.check_time()
    return parts


def upload(
    copy: OffsiteCopy, source: int, parts: FileParts, locked_until: datetime | None, run: Run
) -> s3.StoredObject:
    """Upload the file unless the store has it already, as after a kill. Raises StoreError, OSError, SourceChanged."""
    key = copy_key(copy.entry)
    try:
        return verify_object(key, copy, parts, run)
    except s3.StoreError as error:
        if error.word not in (s3.NOT_FOUND, s3.ALTERED):
            raise
    run.store.put(key, source, parts, locked_until=locked_until, keep_alive=run.check_time)
    try:
        return verify_object(key, copy, parts, run)
    except s3.StoreError as error:
        if error.word in (s3.NOT_FOUND, s3.ALTERED):
            raise s3.StoreError(s3.GARBAGE, "NotWhatWasPut") from None
        raise


def record_copy(
    copy: OffsiteCopy, found: s3.StoredObject, parts: FileParts, run: Run, **times: datetime | None
) -> None:
    """Record a verified copy, and remove the objects that it supersedes. Raises StoreError and LeaseLost.

    One that was just copied is removed again if its row is gone, since nothing else would ever remove it.
    """
    superseded = copy.superseded if copy.place == run.place else []
    is_replaced = copy.key != found.key or copy.version not in ("", found.version)
    if copy.key and copy.place == run.place and is_replaced:
        superseded = [*superseded, [copy.key, copy.version]]
    with transaction.atomic():
        run.lease.extend()
        updated = OffsiteCopy.objects.filter(pk=copy.pk).update(
            **NO_FAILURE,
            state=State.COPIED,
            retry_at=None,
            place=run.place,
            key=found.key,
            version=found.version,
            size=parts.size,
            sha256=parts.sha256,
            etag=found.etag,
            read_parts=0,
            superseded=superseded,
            verified_at=timezone.now(),
            was_read_back=found.checksum != parts.checksum,
            **times,
        )
    if not updated:
        if "copied_at" in times:
            run.store.delete(found.key, found.version)
        return
    run.verified.add(copy.pk)
    if superseded:
        locked = delete_objects(superseded, run)
        OffsiteCopy.objects.filter(pk=copy.pk).update(superseded=locked)


def delete_objects(objects: list[list[str]], run: Run) -> list[list[str]]:
    """Delete objects by key and version, and return those that a lock keeps. Raises StoreError."""
    return [[key, version] for key, version in objects if not run.store.delete(key, version)]


# --- Verification ----------------------------------------------------------------------------------------------------


def verify_copy(copy: OffsiteCopy, run: Run) -> bool:
    """Compare a copy with what was copied, and record the result. Raises StoreError, TimeUp and LeaseLost."""
    whole = FileParts(copy.size or 0, copy.sha256, copy.size or 1, (bytes.fromhex(copy.sha256),))
    parts = known_parts(copy) or whole
    try:
        found = verify_object(copy.key, copy, parts, run)
    except s3.StoreError as error:
        if error.word not in (s3.NOT_FOUND, s3.ALTERED):
            raise
        record_loss(copy, error.word)
        return False
    record_copy(copy, found, parts, run)
    return True


def verify_object(key: str, copy: OffsiteCopy, parts: FileParts, run: Run) -> s3.StoredObject:
    """Verify an object; one that has to be read back is resumed by the next run. Raises StoreError, TimeUp."""
    done = s3.ReadBack(copy.etag, copy.read_parts)
    try:
        return run.store.verify(key, parts, done, run.check_time)
    finally:
        if (done.etag, done.parts) != (copy.etag, copy.read_parts):
            copy.etag, copy.read_parts = done.etag, done.parts
            OffsiteCopy.objects.filter(pk=copy.pk).update(etag=done.etag, read_parts=done.parts)


def record_loss(copy: OffsiteCopy, word: str) -> None:
    """Record that the object is gone or altered. The version is copied again, or else looked for once a day."""
    now, rows = timezone.now(), OffsiteCopy.objects.filter(pk=copy.pk)
    rows.filter(state=State.COPIED).update(since=now, loss=word, lost_at=now)
    retry_at = None if copy.entry.promotion in STORED else now + DAY
    rows.update(**NO_FAILURE, state=State.PENDING, retry_at=retry_at, read_parts=0)


# --- Removal ---------------------------------------------------------------------------------------------------------


def remove_copy(copy: OffsiteCopy, run: Run) -> None:
    """Remove a copy and its row, unless it might be the last good one, or a lock keeps it. Raises StoreError."""
    if retention.needs_another(copy):
        others = retention.other_good_copies(copy)
        if not any(other.pk in run.verified or verify_copy(other, run) for other in others):
            return
    objects = [*copy.superseded, *([[copy.key, copy.version]] if copy.key else [])]
    locked, row = delete_objects(objects, run), OffsiteCopy.objects.filter(pk=copy.pk)
    if locked:
        row.update(retry_at=timezone.now() + DAY)
    else:
        row.delete()


# --- Failures --------------------------------------------------------------------------------------------------------


def record_failure(copy: OffsiteCopy, error: s3.StoreError | LocalError) -> None:
    """Record why a copy could not be made, verified or removed, and when that is tried again."""
    now, rows = timezone.now(), OffsiteCopy.objects.filter(pk=copy.pk)
    since = copy.failed_since or now
    retry_at = now + min(max(now - since, RETRY_FROM), RETRY_UP_TO)
    rows.update(error=error.word, error_code=error.code, failed_since=since, retry_at=retry_at)
    rows.exclude(state=State.COPIED).update(state=State.FAILED)


def is_moved(copy: OffsiteCopy) -> bool:
    """Return True if a scan has moved or replaced the stored file since the row was read."""
    entry = BackupEntry.objects.filter(pk=copy.entry_id).first()
    read = (copy.entry.stored_path, copy.entry.server_sha256)
    return entry is None or (entry.stored_path, entry.server_sha256) != read
