"""Deposits over HTTP: uploads, retries and errors."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any, Callable

import pytest
import requests
import zstandard
from client.tests.helpers.processes import PATIENCE

from vigie_client import DepositPortal, Dump, Outcome, Patience, Result, make_session
from vigie_client.deposits.uploads import TransferFailed, Uploader, _Body

DEPOSITS = "/api/v1/backups/deposits/"
ZST = zstandard.ZstdCompressor().compress(b"-- a\n")
FILE = DEPOSITS + "database/a.sql.gz"
NOON = 1_773_144_000.0  # 2026-03-10T12:00:00Z
LOG = DEPOSITS + "log/OPERATION_20260310_1200_agent-1.json"
DUMP = Dump("a", command="echo a")
Upload = Callable[..., Any]


class Time:
    """A clock that only advances by pauses, which it collects."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        assert len(self.pauses) < 100, "this never ends"
        self.now += seconds

    def patience(self, deadline: float = 3600.0, timeout: float = 20.0) -> Patience:
        return Patience(deadline, timeout, monotonic=lambda: self.now, sleep=self.sleep, rng=lambda: 0.0)


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def upload(portal: Any, deposits: Any, token: str, clock: Time) -> Upload:
    """Deposits one database, or the given ones, at the fake portal. Options are those of `Patience`."""

    def run(*dumps: Dump, **patience: float) -> Any:
        place = DepositPortal(portal.url + "/", make_session(token), clock.patience(**patience))
        return deposits.deposit(*(dumps or [DUMP]), place=place, now=lambda: NOON)

    return run


def report_of(portal: Any) -> Any:
    return json.loads(portal.uploads[-1].body)


def test_file_is_uploaded_before_the_report(portal: Any, upload: Upload, deposits: Any, token: str) -> None:
    result = upload()
    assert [result.status, result.report] == ["deposited", "OPERATION_20260310_1200_agent-1.json"]
    file, report = portal.uploads
    assert (file.name, report.name) == ("database/a.sql.gz", f"log/{result.report}")
    assert gzip.decompress(file.body) == b"a\n"
    for sent in (file, report):
        assert sent.headers["Authorization"] == f"Bearer {token}"
        assert sent.headers["Content-Length"] == str(len(sent.body))
        assert sent.headers["X-Content-SHA256"] == hashlib.sha256(sent.body).hexdigest()
        assert "Transfer-Encoding" not in sent.headers
    compress = report_of(portal)["databases"]["a"]["compress_process"]
    assert compress == {"status": True, "sha256": file.sha256, "size": file.size}
    assert deposits.leftovers() == []
    assert list(deposits.folder.iterdir()) == []


def test_zstd_is_uploaded_with_its_suffix(portal: Any, upload: Upload, tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(ZST)
    upload(Dump("a", file=tmp_path / "a.zst"))
    assert portal.uploads[0].name == "database/a.sql.zst"


def test_failed_dump_is_reported_without_an_upload(portal: Any, upload: Upload) -> None:
    result = upload(Dump("a", command="false"))
    assert (result.status, result.report is None) == ("failed", False)
    assert portal.attempts == [LOG]
    assert report_of(portal)["databases"]["a"]["backup_process"]["message"] == "the dump command ended with status 1"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 507, 302, 400, 404, 405, 421])
def test_transient_status_is_retried(portal: Any, answer: Any, upload: Upload, clock: Time, status: int) -> None:
    foreign = answer(status, b"<html>", {"Content-Type": "text/html"})
    portal.answer_with(FILE, foreign, foreign, None)
    portal.answer_with(LOG, foreign, None)
    assert upload().status == "deposited"
    assert clock.pauses == [1, 2, 1]
    assert [sent.name for sent in portal.uploads] == ["database/a.sql.gz", LOG[len(DEPOSITS) :]]
    assert gzip.decompress(portal.uploads[0].body) == b"a\n"  # from its beginning again


@pytest.mark.parametrize(("trouble", "timeout"), [("reset", 20), ("hang", 1)])
def test_network_failure_is_retried(
    portal: Any, broken: Any, upload: Upload, clock: Time, trouble: str, timeout: float
) -> None:
    portal.answer_with(FILE, broken[trouble], None)
    portal.answer_with(LOG, broken[trouble], None)
    assert upload(timeout=timeout).status == "deposited"
    assert clock.pauses == [1, 1]


def test_retry_after_is_obeyed(portal: Any, answer: Any, upload: Upload, clock: Time) -> None:
    later = formatdate(time.time() + 500, usegmt=True)
    portal.answer_with(
        FILE, answer(429, {}, {"Retry-After": "77"}), answer(503, {}, {"Retry-After": later}), answer(503, {}), None
    )
    assert upload().status == "deposited"
    assert (clock.pauses[0], clock.pauses[2]) == (77, 4)
    assert 400 < clock.pauses[1] <= 500


def test_pauses_are_jittered(portal: Any, answer: Any, deposits: Any, token: str) -> None:
    pauses: list[float] = []
    patience = Patience(sleep=pauses.append, rng=lambda: 0.5)
    portal.answer_with(FILE, answer(503, {}), None)
    deposits.deposit(DUMP, place=DepositPortal(portal.url, make_session(token), patience))
    assert pauses == [0.75]


def test_report_is_sent_after_the_deadline(portal: Any, answer: Any, upload: Upload, clock: Time) -> None:
    portal.answer_with(FILE, answer(503, {"code": "not_ready"}))
    result = upload(deadline=100)
    assert clock.pauses == [1, 2, 4, 8, 16, 32]  # 64 more would be too much
    assert [database.error for database in result.databases] == ["retry 503 not_ready"]
    assert (result.status, result.report) == ("failed", "OPERATION_20260310_1200_agent-1.json")
    transfer = report_of(portal)["databases"]["a"]["transfer_process"]
    assert transfer == {"status": False, "error_message": "retry 503 not_ready"}


def test_pause_beyond_the_deadline_ends_the_upload(portal: Any, answer: Any, upload: Upload, clock: Time) -> None:
    portal.answer_with(FILE, answer(429, {}, {"Retry-After": "3601"}))
    assert upload().databases[0].error == "retry 429"
    assert clock.pauses == []


def test_each_file_is_tried_once_after_the_deadline(portal: Any, answer: Any, upload: Upload) -> None:
    portal.answer_with(FILE, answer(503, {}))
    result = upload(DUMP, Dump("b", command="echo b"), deadline=1)
    assert [database.status for database in result.databases] == ["failed", "deposited"]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "token_revoked", "auth 401 token_revoked"),
        (403, "insufficient_scope", "auth 403 insufficient_scope"),
        (409, "checksum_mismatch", "refused 409 checksum_mismatch"),
        (413, "body_too_large", "refused 413 body_too_large"),
        (413, None, "refused 413"),
    ],
)
def test_refusal_is_not_retried(
    portal: Any, answer: Any, upload: Upload, deposits: Any, clock: Time, status: int, code: Any, words: str
) -> None:
    portal.answer_with(FILE, answer(status, {"code": code}))
    result = upload(DUMP, Dump("b", command="echo b"))
    assert clock.pauses == []
    assert [(database.status, database.error) for database in result.databases] == [
        ("failed", words),
        ("deposited", None),
    ]
    databases = report_of(portal)["databases"]
    assert databases["a"]["transfer_process"] == {"status": False, "error_message": words}
    assert databases["a"]["compress_process"]["status"] is True
    assert databases["b"]["transfer_process"]["status"] is True
    assert deposits.leftovers() == []


def test_refused_report_is_an_error_of_the_result(portal: Any, answer: Any, upload: Upload) -> None:
    portal.answer_with(LOG, answer(401, {"code": "token_expired"}))
    result = upload()
    assert (result.status, result.report, result.error) == ("failed", None, "auth 401 token_expired")
    assert [database.status for database in result.databases] == ["deposited"]


@pytest.mark.parametrize(
    "given",
    [
        (200, b"<html>", {"Content-Type": "text/html"}),
        (200, b"welcome", {}),
        (201, {"status": "stored", "sha256": "0" * 64}, {}),
        (202, {"status": "queued"}, {}),
    ],
)
def test_answer_without_a_receipt_is_retried(portal: Any, answer: Any, upload: Upload, clock: Time, given: Any) -> None:
    portal.answer_with(FILE, answer(*given), None)
    assert upload().status == "deposited"
    assert clock.pauses == [1]


def test_dripping_answer_is_abandoned(
    portal: Any, upload: Upload, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte restarts the socket timeout: only the limit of the attempt ends it."""

    def drip(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 201 Created\r\nX-Drip: ")
        with contextlib.suppress(OSError):
            while not portal.over.wait(0.01):
                handler.wfile.write(b"x")

    monkeypatch.setattr("vigie_client.deposits.uploads.SHORTEST_ATTEMPT_SECONDS", 0.5)
    portal.answer_with(FILE, drip)
    assert upload(deadline=0.5, timeout=PATIENCE).databases[0].error == "retry deadline"
    assert clock.pauses == []


def test_running_upload_may_exceed_the_deadline(portal: Any, deposits: Any, token: str) -> None:
    """The deadline concerns new attempts. The clock is beyond it while the first one goes on."""
    ticks = iter(range(0, 10**9, 10**6))
    patience = Patience(deadline=1, timeout=PATIENCE, monotonic=lambda: float(next(ticks)))
    assert deposits.deposit(DUMP, place=DepositPortal(portal.url, make_session(token), patience)).status == "deposited"


def test_socket_timeout_is_passed_on(portal: Any, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[Any] = []
    put = requests.Session.put

    def watched(session: Any, url: str, **options: Any) -> Any:
        waits.append(options["timeout"])
        return put(session, url, **options)

    monkeypatch.setattr(requests.Session, "put", watched)
    upload(timeout=17)
    assert waits == [17, 17]


@pytest.mark.parametrize(("elapsed", "limit"), [(0, 7200 + 1000), (7000, 200 + 1000), (9000, 60 + 1000)])
def test_time_limit_grows_with_the_size(
    token: str, clock: Time, monkeypatch: pytest.MonkeyPatch, elapsed: float, limit: float
) -> None:
    """The limit is the rest of the deadline, at least a minute, plus the time of a very slow connection."""
    limits: list[float] = []

    def run(_: Any, seconds: float) -> Outcome:
        limits.append(seconds)
        clock.now = elapsed
        return Outcome(Result.DELIVERED)

    monkeypatch.setattr("vigie_client.deposits.uploads._runner.run", run)
    uploader = Uploader(make_session(token), clock.patience(deadline=7200))
    for _ in range(2):
        uploader.put("http://portal", io.BytesIO, 32 * 1024 * 1000, "0" * 64)
    assert limits[1] == limit


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_invalid_url_is_not_retried(deposits: Any, token: str, clock: Time, url: str) -> None:
    place = DepositPortal(url, make_session(token), clock.patience())
    result = deposits.deposit(DUMP, place=place)
    assert result.databases[0].error.startswith("refused ")
    assert clock.pauses == []


class Unreadable(io.BytesIO):
    def read(self, _: Any = -1) -> bytes:
        raise OSError(5, "Input/output error")


def test_unreadable_file_is_not_retried(portal: Any, token: str, clock: Time) -> None:
    uploader = Uploader(make_session(token), clock.patience())
    with pytest.raises(TransferFailed, match="unreadable"):
        uploader.put(portal.url + FILE, lambda: Unreadable(b"x"), 1, "0" * 64)
    assert clock.pauses == []


def test_size_beyond_2_gb_is_sent_as_content_length() -> None:
    size = 5 * 2**30
    prepared = requests.Request("PUT", "http://portal", data=_Body(io.BytesIO(b"x"), size)).prepare()
    assert prepared.headers["Content-Length"] == str(size)
    assert "Transfer-Encoding" not in prepared.headers


def test_token_is_in_no_result_and_no_log(
    portal: Any, answer: Any, upload: Upload, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    portal.answer_with(FILE, answer(401, {"code": "invalid_token", "detail": token}))
    portal.answer_with(LOG, answer(400, {"code": token}))
    assert token not in repr(upload()) + caplog.text
    assert "retry 400" in caplog.text


@pytest.mark.parametrize(("status", "code"), [(413, "body_too_large"), (401, "token_revoked")])
def test_refusal_during_an_upload_is_read(
    portal: Any, upload: Upload, clock: Time, tmp_path: Path, status: int, code: str
) -> None:
    """The portal closes the connection with most of the body unread, which the system reports as a reset."""

    def refuse(handler: Any) -> None:
        body = json.dumps({"code": code}).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/problem+json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with (tmp_path / "a.zst").open("wb") as file:
        file.write(ZST)
        file.truncate(24 * 2**20)  # more than the buffers of a connection
    portal.answer_with(FILE.replace(".gz", ".zst"), refuse)
    error = upload(Dump("a", file=tmp_path / "a.zst")).databases[0].error
    assert error.endswith(f"{status} {code}")
    assert clock.pauses == []
