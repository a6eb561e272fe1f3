"""A portal with an off-site store, and stored versions as promotion leaves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backups.models import BackupEntry, ExpectedBackupJob, OffsiteCopy
from backups.offsite import runs
from backups.offsite.copying import copy_key
from backups.tests.conftest import job, make_job, roots
from backups.tests.factories import dump, make_entry, sha256
from portal.tests.helpers.stores import Bucket, bucket, locked_bucket, s3_port

__all__ = ["bucket", "job", "locked_bucket", "make_job", "roots", "s3_port"]


@pytest.fixture
def store(settings: Any, bucket: Bucket) -> Bucket:
    settings.OFFSITE_URL = bucket.address
    return bucket


@pytest.fixture
def put_version(settings: Any) -> Callable[..., BackupEntry]:
    """Return a function that stores a version of a job."""

    def putting(
        job: ExpectedBackupJob, content: bytes | None = None, promotion: str = "promoted", **fields: Any
    ) -> BackupEntry:
        content = dump() if content is None else content
        entry: BackupEntry = make_entry(job, promotion=promotion, **fields)
        is_current = promotion == "promoted"
        name = entry.staged_name if is_current else entry.version_name
        folder = "current_version" if is_current else "versions"
        entry.stored_path = f"{job.storage_folder}/{folder}/{name}"
        entry.server_sha256, entry.server_size = sha256(content), len(content)
        entry.save()
        path = Path(settings.VALIDATED_ROOT) / entry.stored_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return entry

    return putting


@pytest.fixture
def run() -> Callable[[], None]:
    """Return a function that does what the periodic job and its task do."""

    def running() -> None:
        runs.queue_due()
        runs.run_due()

    return running


def state_of(entry: BackupEntry) -> str:
    copy = OffsiteCopy.objects.get(entry=entry)
    return f"{copy.state} {copy.error}".strip()


def full_key(store: Bucket, entry: BackupEntry) -> str:
    return f"{store.address.prefix}/{copy_key(entry)}"


def end_backoff() -> None:
    """Let the time pass that what failed has to wait."""
    OffsiteCopy.objects.update(retry_at=None)
