"""A store for files that speaks S3. The environment names it, so it is trusted with its address, not with its answers.

Each call ends by a deadline, is repeated a few times, and raises StoreError for whatever the store answers instead.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from itertools import islice
from typing import Any, TypeVar

from portal.egress.file_parts import FileParts, read_part
from portal.egress.s3_client import ALTERED as ALTERED
from portal.egress.s3_client import BODY_LENGTH, make_client, store_errors
from portal.egress.s3_client import FULL as FULL
from portal.egress.s3_client import GARBAGE as GARBAGE
from portal.egress.s3_client import NO_BUCKET as NO_BUCKET
from portal.egress.s3_client import NOT_FOUND as NOT_FOUND
from portal.egress.s3_client import REFUSED as REFUSED
from portal.egress.s3_client import TIMEOUT as TIMEOUT
from portal.egress.s3_client import UNREACHABLE as UNREACHABLE
from portal.egress.s3_client import StoreError as StoreError
from portal.egress.store_address import StoreAddress

# What a listing may take: pages of 1,000 rows.
MOST_PAGES = 1_000
LONGEST_ETAG, LONGEST_VERSION = 128, 1_024
Row = TypeVar("Row")


@dataclass(frozen=True)
class StoredObject:
    """An object as the store describes it. `checksum` is `FileParts.checksum`, where the store has it."""

    key: str
    size: int
    etag: str = ""
    checksum: str = ""
    version: str = ""
    locked_until: datetime | None = None


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was neither completed nor aborted."""

    key: str
    id: str
    started_at: datetime


@dataclass
class ReadBack:
    """The progress of reading an object back: so many parts of the one with this `etag` were compared."""

    etag: str = ""
    parts: int = 0


def nothing() -> None:
    """Do nothing: the default of `keep_alive`."""


class Store:
    """The objects below the prefix of a store; keys are relative to it. Each method raises StoreError.

    `keep_alive` is called between parts that are sent or read. What it raises ends the call, which can be resumed.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.address = address

    @cached_property
    def client(self) -> Any:
        return make_client(self.address)

    def full_key(self, key: str) -> str:
        return f"{self.address.prefix}/{key}" if self.address.prefix else key

    def relative_key(self, found: str) -> str:
        prefix = self.full_key("")
        if not found.startswith(prefix):
            raise StoreError(GARBAGE, "ForeignKey")
        return found[len(prefix) :]

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        with store_errors():
            answer: dict[str, Any] = getattr(self.client, name)(Bucket=self.address.bucket, **arguments)
            return answer

    def call_to_delete(self, name: str, **arguments: Any) -> None:
        """Make a call whose answer is its status alone. A page of some other server has 200."""
        status = self.call(name, **arguments)["ResponseMetadata"]["HTTPStatusCode"]
        if status != HTTPStatus.NO_CONTENT:
            raise StoreError(GARBAGE, str(status))

    def rows(self, name: str, rows: str, read_row: Callable[[dict[str, Any]], Row], **arguments: Any) -> Iterator[Row]:
        """List what `read_row` makes of each row of each page."""
        with store_errors():
            pages = self.client.get_paginator(name).paginate(Bucket=self.address.bucket, **arguments)
            for page in islice(pages, MOST_PAGES):
                yield from map(read_row, page.get(rows) or [])

    def check(self) -> None:
        """Raise NO_BUCKET, REFUSED or whatever keeps the bucket from being used."""
        try:
            self.call("head_bucket")
        except StoreError as error:
            raise StoreError(NO_BUCKET) if error.word == NOT_FOUND else error from None

    def has_lock(self) -> bool:
        """Return True if the bucket has object lock, as far as the key may know."""
        try:
            found = self.call("get_object_lock_configuration").get("ObjectLockConfiguration") or {}
        except StoreError as error:
            if error.word in (UNREACHABLE, TIMEOUT) and error.code != "NotImplemented":
                raise
            return False
        return bool(found.get("ObjectLockEnabled") == "Enabled")

    # --- Objects -----------------------------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects whose keys begin so."""

        def read_row(row: dict[str, Any]) -> StoredObject:
            return StoredObject(self.relative_key(row["Key"]), row["Size"], row["ETag"].strip('"'))

        return self.rows("list_objects_v2", "Contents", read_row, Prefix=self.full_key(prefix))

    def head(self, key: str, version: str = "") -> StoredObject:
        found = self.call("head_object", ChecksumMode="ENABLED", **self.name_object(key, version))
        with store_errors():
            etag, version = found["ETag"].strip('"'), found.get("VersionId", "")
            if not (f"{etag}{version}".isprintable() and len(etag) <= LONGEST_ETAG and len(version) <= LONGEST_VERSION):
                raise StoreError(GARBAGE, "LongName")
            locked_until = found.get("ObjectLockRetainUntilDate")
            return StoredObject(
                key,
                found["ContentLength"],
                etag,
                found.get("ChecksumSHA256", ""),
                version,
                aware(locked_until) if locked_until else None,
            )

    def name_object(self, key: str, version: str) -> dict[str, str]:
        return {"Key": self.full_key(key)} | ({"VersionId": version} if version else {})

    def read(self, key: str, size: int, keep_alive: Callable[[], None] = nothing, *, start: int = 0) -> Iterator[bytes]:
        """Read `size` bytes of an object from `start`, in calls of at most BODY_LENGTH bytes."""
        for begin in range(start, start + size, BODY_LENGTH):
            length = min(BODY_LENGTH, start + size - begin)
            found = self.call("get_object", Key=self.full_key(key), Range=f"bytes={begin}-{begin + length - 1}")
            with store_errors():
                chunk: bytes = found["Body"].read()
            if len(chunk) != length:
                raise StoreError(GARBAGE, "WrongLength")
            yield chunk
            keep_alive()

    def delete(self, key: str, version: str = "") -> bool:
        """Delete an object, and return False if a lock keeps it. One that is gone already counts as deleted."""
        try:
            self.call_to_delete("delete_object", **self.name_object(key, version))
        except StoreError as error:
            if error.word == NOT_FOUND:
                return True
            locked_until = self.head(key, version).locked_until if error.word == REFUSED else None
            if locked_until is not None and locked_until > datetime.now(UTC):
                return False
            raise
        return True

    def verify(
        self, key: str, parts: FileParts, done: ReadBack | None = None, keep_alive: Callable[[], None] = nothing
    ) -> StoredObject:
        """Return the object if it is what was put: by the store's own checksum, else by reading the object back.

        `done` is where an interrupted call for the same object stopped, and is kept up to date. Raises StoreError, also
        with the words NOT_FOUND and ALTERED.
        """
        found, done = self.head(key), done or ReadBack()
        if found.size != parts.size:
            raise StoreError(ALTERED)
        if found.checksum == parts.checksum:
            return found
        if done.etag != found.etag:
            done.etag, done.parts = found.etag, 0
        for index in range(done.parts, len(parts.digests)):
            if self.hash_part(key, parts, index) != parts.digests[index]:
                done.parts = 0
                raise StoreError(ALTERED)
            done.parts = index + 1
            if done.parts < len(parts.digests):
                keep_alive()
        return found

    def hash_part(self, key: str, parts: FileParts, index: int) -> bytes:
        digest = hashlib.sha256()
        for chunk in self.read(key, parts.length(index), start=index * parts.part_size):
            digest.update(chunk)
        return digest.digest()

    # --- Uploads -----------------------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        source: int,
        parts: FileParts,
        *,
        locked_until: datetime | None = None,
        keep_alive: Callable[[], None] = nothing,
    ) -> None:
        """Upload the open file that was measured. Raises OSError, and SourceChanged for one that has changed since.

        The object is there as a whole or not at all. Parts that an interrupted upload of this file left are neither
        read nor sent. Whoever puts another file under the key calls `abort_uploads` first.
        """
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": locked_until} if locked_until else {}
        which: dict[str, Any] = {"Key": self.full_key(key)}
        if len(parts.digests) == 1:
            body, checksum = read_part(source, parts, 0), parts.checksum
            self.call("put_object", **which, **lock, Body=body, ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum)
            return
        upload = self.find_upload(key)
        known = self.list_parts(key, upload) if upload else {}
        if upload is None:
            created = self.call("create_multipart_upload", **which, **lock, ChecksumAlgorithm="SHA256")
            with store_errors():
                upload = str(created["UploadId"])
        which["UploadId"] = upload
        sent = []
        for index in range(len(parts.digests)):
            part = known.get(index + 1, {})
            if not is_part(part, parts, index):
                body, checksum = read_part(source, parts, index), encode_digest(parts.digests[index])
                part = self.call("upload_part", **which, PartNumber=index + 1, Body=body, ChecksumSHA256=checksum)
                keep_alive()
            sent.append(name_part(part, parts, index))
        self.call("complete_multipart_upload", **which, MultipartUpload={"Parts": sent})

    def list_parts(self, key: str, upload: str) -> dict[int, dict[str, Any]]:
        def read_row(row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            return row["PartNumber"], row

        return dict(self.rows("list_parts", "Parts", read_row, Key=self.full_key(key), UploadId=upload))

    def find_upload(self, key: str) -> str | None:
        """Return the id of the newest interrupted upload of this object."""
        found = max(self.uploads_of(key), key=lambda upload: upload.started_at, default=None)
        return found.id if found else None

    def abort_uploads(self, key: str) -> None:
        for upload in self.uploads_of(key):
            self.abort(upload)

    def uploads_of(self, key: str) -> Iterator[Upload]:
        return (upload for upload in self.uploads(key) if upload.key == key)

    def uploads(self, prefix: str = "") -> Iterator[Upload]:
        """List the interrupted uploads of objects whose keys begin so."""

        def read_row(row: dict[str, Any]) -> Upload:
            return Upload(self.relative_key(row["Key"]), row["UploadId"], aware(row["Initiated"]))

        return self.rows("list_multipart_uploads", "Uploads", read_row, Prefix=self.full_key(prefix))

    def abort(self, upload: Upload) -> None:
        try:
            self.call_to_delete("abort_multipart_upload", Key=self.full_key(upload.key), UploadId=upload.id)
        except StoreError as error:
            if error.word != NOT_FOUND:
                raise


def is_part(found: dict[str, Any], parts: FileParts, index: int) -> bool:
    """Return True if the store lists this part.

    Where it lists no checksums, the size is enough: the whole object is verified in the end.
    """
    checksum = encode_digest(parts.digests[index])
    return found.get("Size") == parts.length(index) and found.get("ChecksumSHA256") in (checksum, None)


def name_part(part: dict[str, Any], parts: FileParts, index: int) -> dict[str, Any]:
    """Return what the completion of an upload says of a part that was listed or sent."""
    with store_errors():
        return {"PartNumber": index + 1, "ETag": part["ETag"], "ChecksumSHA256": encode_digest(parts.digests[index])}


def aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def encode_digest(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
