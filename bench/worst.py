"""Measure the costliest anonymous request of each kind: small as sent, expensive to answer."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MIB = 1024 * 1024
FORM = "application/x-www-form-urlencoded"
MARKS = "\u0301\u0316"
PACKED = {"Content-Encoding": "gzip"}


@dataclass(frozen=True)
class Request:
    """One request. `status` is its answer; `caller` says what it shows: nothing, a programme's key, or a token."""

    name: str
    caller: str
    path: str
    status: int
    method: str = "POST"
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def build_body(item: bytes, size: int) -> bytes:
    """A JSON object with a list of the item, of at most so many bytes."""
    return b'{"a":[' + b",".join([item] * ((size - 8) // (len(item) + 1))) + b"]}"


def feedback(**changes: object) -> bytes:
    """Feedback in UTF-8 as it is, so that a mark takes two bytes."""
    body = {"id": str(uuid.uuid4()), "participant": "a", "type": "ux", "nps_score": 5, "comment": "x"} | changes
    return json.dumps(body, ensure_ascii=False).encode()


def of_nobody(key: str) -> Iterator[Request]:
    many = {
        "Cookie": "; ".join(f"a{n}=b" for n in range(1_000)),
        "Accept-Language": ",".join(f"a{n}-b;q=0.{n}" for n in range(600)),
        "User-Agent": "Version/1 " * 800,
        "Origin": "https://" + "a-" * 4_000,
    }
    small, large = 63 * 1024, MIB - 64
    parts = b"".join(b'--x\r\nContent-Disposition: form-data; name="%d"\r\n\r\n\r\n' % n for n in range(999))
    yield Request("schema", "nobody", "/api/schema/", 200, "GET")
    yield Request("headers of 8 KiB each", "nobody", "/docs/api", 200, "GET", headers=many)
    yield Request(
        "sign-in form of 64 KiB",
        "nobody",
        "/i18n/setlang/",
        302,
        body=b"next=" + b"%41" * (small // 3),
        content_type=FORM,
    )
    yield Request(
        "multipart form of 1,000 parts", "nobody", "/i18n/setlang/", 302, body=parts[:small] + b"\r\n--x--\r\n",
        content_type="multipart/form-data; boundary=x",
    )  # fmt: skip
    page = f"/feedback/{key}"
    yield Request(
        "feedback form, all escaped", "nobody", page, 400, body=b"comment=" + b"%41" * (large // 3), content_type=FORM
    )
    yield Request(
        "feedback form, marks", "nobody", page, 400, body=b"comment=" + MARKS.encode() * (large // 4), content_type=FORM
    )
    yield Request(
        "feedback form, 999 fields",
        "nobody",
        page,
        400,
        body=b"&".join(b"%d=" % n + b"%41" * 348 for n in range(998)),
        content_type=FORM,
    )


def by_key(key: str) -> Iterator[Request]:
    path, size = f"/api/v1/beta/feedback?key={key}", MIB // 2
    marks = "\u0301" * 500_000 + "\u0316" * 500_000
    bodies = [
        ("participant of a million marks", feedback(participant=f"a{marks}"), 413),
        ("participant of 250,000 marks", feedback(participant="a" + MARKS * 125_000), 400),
        ("comment of 100,000 marks", feedback(comment=MARKS * 50_000), 201),
        ("comment of 100,000 emoji", feedback(comment="\U0001f600" * 100_000), 201),
        ("lists", build_body(b"[]", 3 * 59_000), 400),
        ("objects", build_body(b"{}", 3 * 59_000), 400),
        ("strings", build_body(b'"ab"', size), 400),
        ("floats", build_body(b"1.5", 4 * 119_000), 400),
        ("integers of 640 digits", build_body(b"9" * 640, size), 400),
        ("escapes", b'{"participant":"' + b"\\u0301" * (size // 6 - 10) + b'"}', 400),
        ("brackets", b'{"a":' + b"[" * 119_000, 400),
        ("eight MiB of lists", build_body(b"[]", 8 * MIB), 413),
    ]
    for name, body, status in bodies:
        yield Request(f"feedback, {name}", "key", path, status, body=gzip.compress(body, 9), headers=PACKED)


def by_token() -> Iterator[Request]:
    size = 8 * MIB
    run = {
        "run_id": uuid.uuid4().hex, "app_name": "a", "app_version": "1", "document_count": 10_000, "succeeded_count": 0,
        "failed_count": 0, "total_pages": 0, "documents": [{}] * 10_000,
    }  # fmt: skip
    batch = {"runs": [run | {"run_id": uuid.uuid4().hex} for _ in range(100)]}
    report, batches = "/api/v1/usage/report", "/api/v1/usage/report/batch"
    bodies = [
        ("lists", report, build_body(b"[]", 299_990), 400),
        ("eight MiB of lists", report, build_body(b"[]", size), 413),
        ("one text of eight MiB", report, b'{"a":"' + "\U0001f600".encode() + b"a" * (size - 20) + b'"}', 400),
        ("integers of 640 digits", report, build_body(b"9" * 640, size), 400),
        ("10,000 documents", report, json.dumps(run).encode(), 201),
        ("batch of strings", batches, build_body(b'"ab"', size), 400),
        ("batch of 100 x 10,000 documents", batches, json.dumps(batch, separators=(",", ":")).encode(), 200),
    ]
    for name, path, body, status in bodies:
        yield Request(name, "token", path, status, body=gzip.compress(body, 9), headers=PACKED)


KINDS: dict[str, Callable[[str], Iterator[Request]]] = {
    "nobody": of_nobody,
    "key": by_key,
    "token": lambda _key: by_token(),
}
