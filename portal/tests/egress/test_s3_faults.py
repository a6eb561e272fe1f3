"""Stores that fail at each kind of call: the error has a word, and comes by the deadline."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from portal.egress import file_parts, s3, s3_client
from portal.tests.helpers.stores import DROP, HANG, HTML, TRICKLE, Answer, Bucket, measured

MIB = 1024 * 1024
CONTENT = os.urandom(6 * MIB)


@pytest.fixture
def stored(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket with the object `dump` and an interrupted upload of `big`, whose calls must end at once."""
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)
    with measured(b"x") as (source, parts):
        bucket.store.put("dump", source, parts)
    bucket.client.create_multipart_upload(Bucket=bucket.address.bucket, Key="off/site/big")
    bucket.proxy.calls.clear()
    monkeypatch.setattr(s3_client, "SLOWEST", math.inf)
    return bucket


def put_big(store: s3.Store, key: str = "big") -> None:
    with measured(CONTENT) as (source, parts):
        store.put(key, source, parts)


def put_small(store: s3.Store) -> None:
    with measured(b"x") as (source, parts):
        store.put("small", source, parts)


def abort_all(store: s3.Store) -> None:
    store.abort_uploads("big")


# By name: the method and a part of the path of the call that fails, and the operation that makes it.
OPERATIONS: dict[str, tuple[str, str, Callable[[s3.Store], Any]]] = {
    "check": ("HEAD", "", s3.Store.check),
    "list": ("GET", "list-type=2", lambda store: list(store.list())),
    "head": ("HEAD", "dump", lambda store: store.head("dump")),
    "read back": ("GET", "dump", lambda store: list(store.read("dump", 1))),
    "delete": ("DELETE", "dump", lambda store: store.delete("dump")),
    "put": ("PUT", "small", put_small),
    "list uploads": ("GET", "uploads", put_big),
    "create upload": ("POST", "uploads", lambda store: put_big(store, "new")),
    "list parts": ("GET", "uploadId", put_big),
    "send part": ("PUT", "partNumber=2", put_big),
    "complete upload": ("POST", "uploadId", put_big),
    "abort upload": ("DELETE", "uploadId", abort_all),
}
FAULTS = {
    "hangs": (HANG, s3.TIMEOUT),
    "trickles": (TRICKLE, s3.TIMEOUT),
    "hangs up": (DROP, s3.UNREACHABLE),
    "refuses": (Answer(403, error="AccessDenied"), s3.REFUSED),
    "full": (Answer(507, error="InsufficientStorage"), s3.FULL),
    "garbage": (Answer(418, HTML), s3.GARBAGE),
}


def word_of(stored: Bucket, operation: str, fault: Any) -> str:
    method, path_part, call = OPERATIONS[operation]
    stored.proxy.fault = lambda found, path: fault if found == method and path_part in path else None
    with pytest.raises(s3.StoreError) as raised:
        call(stored.store)
    assert any(found == method and path_part in path for found, path in stored.proxy.calls)
    return raised.value.word


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_call_that_fails_is_an_error_with_a_word(
    stored: Bucket, monkeypatch: pytest.MonkeyPatch, operation: str, fault: str
) -> None:
    answer, word = FAULTS[fault]
    method, path_part, _call = OPERATIONS[operation]
    real = s3_client.exchange

    def exchange(request: Any, body: bytes | None, deadline: float) -> Any:
        is_late = word == s3.TIMEOUT and request.method == method and path_part in request.url
        return real(request, body, time.monotonic() + 0.05 if is_late else deadline)

    monkeypatch.setattr(s3_client, "exchange", exchange)
    assert word_of(stored, operation, answer) == word


UPLOAD = "<Upload><Key>off/site/big</Key><UploadId>1</UploadId><Initiated>{}</Initiated></Upload>"
INCOMPLETE = {
    "object without a key": ("list", "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>"),
    "size that is no number": (
        "list",
        "<ListBucketResult><Contents><Key>off/site/a</Key><Size>many</Size></Contents></ListBucketResult>",
    ),
    "object of others": (
        "list",
        "<ListBucketResult><Contents><Key>b</Key><Size>1</Size><ETag>e</ETag></Contents></ListBucketResult>",
    ),
    "upload without an id": (
        "list uploads",
        "<ListMultipartUploadsResult><Upload><Key>off/site/big</Key></Upload></ListMultipartUploadsResult>",
    ),
    "upload of no time": (
        "list uploads",
        f"<ListMultipartUploadsResult>{UPLOAD.format('never')}</ListMultipartUploadsResult>",
    ),
    "part without a number": ("list parts", "<ListPartsResult><Part><ETag>e</ETag></Part></ListPartsResult>"),
    "new upload without an id": ("create upload", "<InitiateMultipartUploadResult/>"),
    "head without a tag": ("head", ""),
    "part without a tag": ("send part", ""),
    "object that is too short": ("read back", ""),
    "object that is too long": ("read back", "xx"),
}


@pytest.mark.parametrize(("operation", "xml"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_answer_that_lacks_something_is_garbage(stored: Bucket, operation: str, xml: str) -> None:
    assert word_of(stored, operation, Answer(200, xml.encode())) == s3.GARBAGE


def test_listed_part_without_a_tag_is_garbage(stored: Bucket) -> None:
    xml = f"<ListPartsResult><Part><PartNumber>1</PartNumber><Size>{5 * MIB}</Size></Part></ListPartsResult>"
    assert word_of(stored, "list parts", Answer(200, xml.encode())) == s3.GARBAGE


def test_upload_without_a_time_zone_is_compared_in_utc(stored: Bucket) -> None:
    xml = f"<ListMultipartUploadsResult>{UPLOAD.format('2026-01-02T03:04:05')}</ListMultipartUploadsResult>"
    stored.proxy.fault = lambda method, path: Answer(200, xml.encode())
    (upload,) = stored.store.uploads()
    assert upload.started_at.isoformat() == "2026-01-02T03:04:05+00:00"


def test_deadline_of_a_call_grows_with_what_it_carries(stored: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []

    def exchange(request: Any, body: bytes | None, deadline: float) -> Any:
        deadlines.append(deadline)
        raise ConnectionError

    monkeypatch.setattr(s3_client, "SLOWEST", 1)
    monkeypatch.setattr(s3_client, "exchange", exchange)
    monkeypatch.setattr("portal.egress.s3_client.time.monotonic", lambda: 1_000.0)
    for operation in ("put", "head", "read back"):
        with pytest.raises(s3.StoreError):
            OPERATIONS[operation][2](stored.store)
    assert deadlines == [1_061, 1_060, 1_060 + s3_client.BODY_LENGTH]


@pytest.mark.parametrize("operation", ["delete", "abort upload"])
def test_deletion_counts_by_the_status_of_a_store(stored: Bucket, operation: str) -> None:
    assert word_of(stored, operation, Answer(200)) == s3.GARBAGE
