"""A store for files that speaks S3. The environment names it, so it is trusted with its address, not with its answers.

Calls time out and are retried a few times. No answer takes more memory than BODY_LENGTH, and no redirect is followed.
botocore is imported with the first call: it is large, and few processes need it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

import certifi
import urllib3

from portal.egress.file_parts import FileParts, read_part
from portal.egress.store_address import StoreAddress

# --- Errors ----------------------------------------------------------------------------------------------------------

REFUSED, UNREACHABLE, TIMEOUT, FULL = "refused", "unreachable", "timeout", "full"
NOT_FOUND, NO_BUCKET, GARBAGE, ALTERED = "not_found", "no_bucket", "garbage", "altered"
CODES = {
    **dict.fromkeys(("NoSuchBucket",), NO_BUCKET),
    **dict.fromkeys(("NoSuchKey", "NoSuchUpload", "NoSuchVersion", "404"), NOT_FOUND),
    **dict.fromkeys(("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "507"), FULL),
    **dict.fromkeys(("RequestTimeout", "408"), TIMEOUT),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"), REFUSED),
}
STATUSES = {401: REFUSED, 403: REFUSED, 404: NOT_FOUND, 408: TIMEOUT, 429: UNREACHABLE, 507: FULL}
PLAIN_CODE = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)


class StoreError(Exception):
    """A call failed; `word` is one of the words above, and `code` the store's own word, if it gave a plain one."""

    def __init__(self, word: str, code: str = "") -> None:
        super().__init__(f"{word} ({code})" if code else word)
        self.word, self.code = word, code


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the errors of the libraries into StoreError."""
    from botocore import exceptions as errors  # noqa: PLC0415

    try:
        yield
    except errors.ClientError as error:
        raise translate(error.response) from None
    except (errors.ConnectTimeoutError, errors.ReadTimeoutError, urllib3.exceptions.TimeoutError):
        raise StoreError(TIMEOUT) from None
    except (errors.ConnectionError, errors.HTTPClientError, urllib3.exceptions.HTTPError) as error:
        raise StoreError(UNREACHABLE, type(error).__name__) from None
    except errors.BotoCoreError as error:
        raise StoreError(GARBAGE, type(error).__name__) from None


def translate(response: dict[str, Any]) -> StoreError:
    status = int(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(SENT_STATUS) or 0)
    found = str(response.get("Error", {}).get("Code") or "")
    code = found if PLAIN_CODE.fullmatch(found) else str(status)
    word = CODES.get(code) or STATUSES.get(status) or (UNREACHABLE if status >= 500 else GARBAGE)
    return StoreError(word, code)


# --- The connection --------------------------------------------------------------------------------------------------

CONNECT_SECONDS, READ_SECONDS, ANSWER_SECONDS, ATTEMPTS = 10, 60, 60, 3
# The status as it was sent: botocore turns a 200 whose body it cannot read into a 500.
SENT_STATUS = "x-sent-status"
BODY_LENGTH = 8 * 1024 * 1024
CHUNK = 256 * 1024


class BoundedBody:
    """The raw body of an answer. One with more than BODY_LENGTH bytes or ANSWER_SECONDS is refused."""

    def __init__(self, raw: Any) -> None:
        self.raw, self.deadline = raw, time.monotonic() + ANSWER_SECONDS

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def stream(self) -> Iterator[bytes]:
        left = BODY_LENGTH
        for chunk in self.raw.stream(CHUNK):
            left -= len(chunk)
            if left < 0 or time.monotonic() > self.deadline:
                raise StoreError(GARBAGE, "EndlessAnswer")
            yield chunk


@cache
def botocore_session() -> Any:
    """Return the session of this process, which takes nothing from the environment or from files of AWS."""
    from botocore.session import Session  # noqa: PLC0415

    nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return Session(session_vars={"profile": (None, None, None, None), **nowhere})


def connect(address: StoreAddress) -> Any:
    """Return a client of botocore."""
    from botocore.config import Config  # noqa: PLC0415
    from botocore.httpsession import URLLib3Session  # noqa: PLC0415

    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = botocore_session().create_client(
        "s3",
        region_name=address.region,
        endpoint_url=f"{'https' if address.tls else 'http'}://{address.host}",
        aws_access_key_id=address.key,
        aws_secret_access_key=address.secret,
        config=config,
    )
    authorities = ssl.get_default_verify_paths().cafile or certifi.where()  # those of the system know private ones
    http = URLLib3Session(verify=authorities, timeout=(CONNECT_SECONDS, READ_SECONDS))

    def send(request: Any, **_event: Any) -> Any:
        is_streamed, request.stream_output = request.stream_output, True
        answer = http.send(request)
        if 300 <= answer.status_code < 400:  # botocore would look for the bucket's region, without end
            raise StoreError(GARBAGE, "Redirect")
        answer.raw, answer.headers[SENT_STATUS] = BoundedBody(answer.raw), str(answer.status_code)
        if not is_streamed:
            answer.content  # noqa: B018 - reads it within the attempt, which may be repeated
        return answer

    client.meta.events.register("before-send.s3", send)
    return client


# --- The store -------------------------------------------------------------------------------------------------------

# What a listing may take: pages of 1,000 rows.
MOST_PAGES = 1_000


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


def nothing() -> None:
    """Do nothing: the default of `keep_alive`."""


class Store:
    """The objects below the prefix of a store; keys are relative to it. Each method raises StoreError.

    `keep_alive` is called between parts. What it raises ends the call; an upload in parts can then be resumed.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.address, self._client = address, None

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = connect(self.address)
        return self._client

    def full_key(self, key: str) -> str:
        return f"{self.address.prefix}/{key}" if self.address.prefix else key

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        with store_errors():
            answer: dict[str, Any] = getattr(self.client, name)(Bucket=self.address.bucket, **arguments)
            return answer

    def rows(self, name: str, rows: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        with store_errors():
            pages = self.client.get_paginator(name).paginate(Bucket=self.address.bucket, **arguments)
            for page in islice(pages, MOST_PAGES):
                yield from page.get(rows) or []

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

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects whose keys begin so."""
        own = len(self.full_key(""))
        for row in self.rows("list_objects_v2", "Contents", Prefix=self.full_key(prefix)):
            yield StoredObject(row["Key"][own:], int(row.get("Size", 0)), str(row.get("ETag", "")).strip('"'))

    def head(self, key: str) -> StoredObject:
        found = self.call("head_object", Key=self.full_key(key), ChecksumMode="ENABLED")
        return StoredObject(
            key,
            int(found.get("ContentLength", -1)),
            str(found.get("ETag", "")).strip('"'),
            str(found.get("ChecksumSHA256", "")),
            str(found.get("VersionId", "")),
            found.get("ObjectLockRetainUntilDate"),
        )

    def read(self, key: str, most: int, keep_alive: Callable[[], None] = nothing) -> Iterator[bytes]:
        """Read an object of at most so many bytes; an answer that has more is garbage."""
        body = self.call("get_object", Key=self.full_key(key))["Body"]
        with store_errors(), closing(body):
            while chunk := body.read(CHUNK):
                most -= len(chunk)
                if most < 0:
                    raise StoreError(GARBAGE, "EndlessAnswer")
                keep_alive()
                yield chunk

    def delete(self, key: str, version: str = "") -> bool:
        """Delete an object, and return False if a lock keeps it. One that is gone already counts as deleted."""
        which = {"Key": self.full_key(key)} | ({"VersionId": version} if version else {})
        try:
            self.call("delete_object", **which)
        except StoreError as error:
            if error.word == NOT_FOUND:
                return True
            if error.word == REFUSED and self.head(key).locked_until is not None:
                return False
            raise
        return True

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
        """Upload the open file that was measured. Raises SourceChanged for one that has changed since.

        The object is there as a whole or not at all. Parts that an interrupted upload left are not sent again.
        """
        which: dict[str, Any] = {"Key": self.full_key(key)}
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": locked_until} if locked_until else {}
        if len(parts.digests) == 1:
            body = read_part(source, parts, 0)
            self.call(
                "put_object", **which, **lock, Body=body, ChecksumAlgorithm="SHA256", ChecksumSHA256=parts.checksum
            )
            return
        upload, is_new = self.find_upload(key), False
        if upload is None:
            created = self.call("create_multipart_upload", **which, **lock, ChecksumAlgorithm="SHA256")
            upload, is_new = created["UploadId"], True
        known = {} if is_new else self.list_parts(which | {"UploadId": upload})
        sent = []
        for index in range(len(parts.digests)):
            keep_alive()
            sent.append(self.put_part(which | {"UploadId": upload}, source, parts, index, known.get(index + 1)))
        self.call("complete_multipart_upload", **which, UploadId=upload, MultipartUpload={"Parts": sent})

    def put_part(
        self, upload: dict[str, Any], source: int, parts: FileParts, index: int, known: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Upload a part unless the store has it, and return what the completion says of it."""
        checksum, number = encode_digest(parts.digests[index]), index + 1
        body = read_part(source, parts, index)
        if known is not None and known.get("Size") == len(body):
            found = known.get("ChecksumSHA256")
            has_part = found == checksum if found else str(known.get("ETag")).strip('"') == md5(body)
            if has_part:
                return {"PartNumber": number, "ETag": known["ETag"], "ChecksumSHA256": checksum}
        made = self.call("upload_part", **upload, PartNumber=number, Body=body, ChecksumSHA256=checksum)
        return {"PartNumber": number, "ETag": made.get("ETag", ""), "ChecksumSHA256": checksum}

    def list_parts(self, upload: dict[str, Any]) -> dict[int, dict[str, Any]]:
        return {int(row["PartNumber"]): row for row in self.rows("list_parts", "Parts", **upload)}

    def find_upload(self, key: str) -> str | None:
        """Return the id of the newest interrupted upload of this object, and abort the others."""
        found = sorted((upload for upload in self.uploads(key) if upload.key == key), key=lambda one: one.started_at)
        for upload in found[:-1]:
            self.abort(upload)
        return found[-1].id if found else None

    def uploads(self, prefix: str = "") -> Iterator[Upload]:
        """List the interrupted uploads of objects whose keys begin so."""
        own = len(self.full_key(""))
        for row in self.rows("list_multipart_uploads", "Uploads", Prefix=self.full_key(prefix)):
            yield Upload(row["Key"][own:], row["UploadId"], row["Initiated"])

    def abort(self, upload: Upload) -> None:
        try:
            self.call("abort_multipart_upload", Key=self.full_key(upload.key), UploadId=upload.id)
        except StoreError as error:
            if error.word != NOT_FOUND:
                raise

    def verify(
        self, key: str, *, size: int, sha256: str, checksum: str, keep_alive: Callable[[], None] = nothing
    ) -> StoredObject:
        """Return the object if it is what was put: by the store's own checksum, else by reading the object back.

        Raises StoreError, also with the words NOT_FOUND and ALTERED.
        """
        found = self.head(key)
        if found.size != size:
            raise StoreError(ALTERED)
        if found.checksum != checksum:
            digest = hashlib.sha256()
            for chunk in self.read(key, size, keep_alive):
                digest.update(chunk)
            if digest.hexdigest() != sha256:
                raise StoreError(ALTERED)
        return found


def encode_digest(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def md5(body: bytes) -> str:
    """Return what stores without checksums call a part: no protection, only a name."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
