"""Packing a dump is deterministic, detects incomplete dumps, and needs constant memory."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, Callable

import pytest
import zstandard

from vigie_client import Dump
from vigie_client.deposits import packing
from vigie_client.deposits.dumps import CHUNK
from vigie_client.deposits.errors import DumpFailed
from vigie_client.deposits.packing import pack

ZSTD, SKIPPABLE = b"\x28\xb5\x2f\xfd", b"\x53\x2a\x4d\x18\4\0\0\0abcd"
DUMPS = Path(__file__).parent / "dumps"
SQL = (DUMPS / "pg_dump.sql").read_bytes()


def zst(content: bytes) -> bytes:
    compressed: bytes = zstandard.ZstdCompressor().compress(content)
    return compressed


def long_zst(content: bytes) -> bytes:
    """Compress like `zstd --long=28`."""
    options = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=options).compressobj()
    return bytes(compressor.compress(content) + compressor.flush())


def packed(*chunks: bytes, name: str = "") -> tuple[Any, bytes]:
    written: list[bytes] = []
    result = pack(iter(chunks), written.append, name=name)
    return result, b"".join(written)


def test_packed_file_has_its_hash_and_sizes() -> None:
    result, content = packed(b"a" * 1000, b"b" * 1000)
    assert gzip.decompress(content) == b"a" * 1000 + b"b" * 1000
    assert (result.sha256, result.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (result.raw_size, result.suffix) == (2000, ".gz")


def test_unchanged_dump_has_an_unchanged_hash(deposits: Any, tmp_path: Path) -> None:
    results = []
    for name, seconds in (("one", 1_000_000_000), ("two", 1_700_000_000)):
        (tmp_path / name).write_bytes(b"the same" * 1000)
        os.utime(tmp_path / name, (seconds, seconds))
        results.append(deposits.deposit(Dump("a", file=tmp_path / name), now=lambda seconds=seconds: seconds))
    assert results[0].databases == results[1].databases
    header = deposits.staged("a.sql.gz").read_bytes()[:10]
    assert (header[:3], header[3], header[4:8]) == (b"\x1f\x8b\x08", 0, b"\0\0\0\0")  # flags: no name; no time


def test_hash_does_not_depend_on_chunks() -> None:
    assert packed(b"a", b"b", b"c" * 5000) == packed(b"abcc", b"c" * 4998)


@pytest.mark.parametrize("content", [gzip.compress(b"dump"), gzip.compress(b"du") + gzip.compress(b"mp") + b"\0" * 700])
@pytest.mark.parametrize("pieces", [1, 3, 100_000])
def test_complete_gzip_is_passed_on_unchanged(content: bytes, pieces: int) -> None:
    chunks = [content[at : at + pieces] for at in range(0, len(content), pieces)]
    result, written = packed(*chunks, name="dump.sql.gz")
    assert written == content
    assert (result.raw_size, result.suffix) == (4, ".gz")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(b"dump" * 1000)[:-1], "truncated"),
        (gzip.compress(b"dump" * 1000)[:20], "truncated"),
        (gzip.compress(b"dump") + gzip.compress(b"dump")[:15], "truncated"),
        (gzip.compress(b"dump")[:-8] + b"\0" * 8, "corrupted"),
        (gzip.compress(b"dump") + b"rest", "corrupted"),
        (gzip.compress(b""), "empty"),
        (b"", "empty"),
        (b"plain", "isn't what its name says"),
        (ZSTD + b"x", "isn't what its name says"),
    ],
)
def test_broken_gzip_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(DumpFailed, match=why):
        packed(content, name="dump.sql.gz")


@pytest.mark.parametrize("content", [zst(SQL), long_zst(SQL), SKIPPABLE + zst(SQL[:99]) + zst(SQL[99:]) + b"\0" * 700])
@pytest.mark.parametrize("pieces", [1, 1000])
def test_zstd_is_passed_on_with_its_suffix(content: bytes, pieces: int) -> None:
    chunks = [content[at : at + pieces] for at in range(0, len(content), pieces)]
    result, written = packed(*chunks, name="dump.sql.zst")
    assert written == content
    assert (result.raw_size, result.size, result.suffix) == (len(SQL), len(content), ".zst")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (zst(b""), "empty"),
        (zst(b"\n"), "empty"),
        (zst(SQL)[:-3], "truncated"),
        (zst(SQL)[: len(zst(SQL)) // 2], "truncated"),
        (zst(SQL) + b"rest", "corrupted"),
        (ZSTD + b"\xff" * 100, "corrupted"),
        (zst(SQL[:-200]), "incomplete"),
    ],
)
def test_broken_zstd_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(DumpFailed, match=why):
        packed(content, name="dump.sql.zst")


def test_zstd_is_passed_on_unchecked_without_zstandard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packing, "zstandard", None)
    result, written = packed(zst(SQL)[:-3])
    assert (written, result.raw_size) == (zst(SQL)[:-3], len(zst(SQL)) - 3)
    assert [record.message for record in caplog.records] == [
        "the zstd file can't be looked into: install vigie-client[zstd]"
    ]


@pytest.mark.parametrize("pack_it", [bytes, gzip.compress, zst])
@pytest.mark.parametrize("name", sorted(path.name for path in DUMPS.iterdir()))
def test_complete_dump_is_packed(pack_it: Any, name: str) -> None:
    content = (DUMPS / name).read_bytes()
    assert packed(pack_it(content))[0].raw_size == len(content)


@pytest.mark.parametrize("pack_it", [bytes, gzip.compress, zst])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (SQL[: len(SQL) * 7 // 10], "incomplete"),
        ((DUMPS / "mariadb-dump.sql").read_bytes()[:400], "incomplete"),
        (b"pg_dump: error: connection to server failed\n", "an error message"),
        (b"\n", "empty"),
    ],
)
def test_useless_dump_fails_with_its_reason(
    deposits: Any, tmp_path: Path, pack_it: Any, content: bytes, why: str
) -> None:
    path = tmp_path / "dump.sql"
    path.write_bytes(pack_it(content))
    (database,) = deposits.deposit(Dump("a", file=path)).databases
    assert (database.status, why in database.error) == ("failed", True)
    (report,) = deposits.reports()
    assert report["databases"]["a"]["backup_process"]["message"] == database.error


def test_unknown_format_is_deposited_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert packed(b"some other format")[0].raw_size == 17
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b"x")])
def test_file_with_a_wrong_suffix_is_refused(content: bytes) -> None:
    with pytest.raises(DumpFailed, match="isn't what its name says"):
        packed(content, name="DUMP.SQL.ZST")


def test_gzip_output_of_a_command_is_not_compressed_again(deposits: Any) -> None:
    deposits.deposit(Dump("a", command="echo a | gzip"))
    assert gzip.decompress(deposits.staged("a.sql.gz").read_bytes()) == b"a\n"


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def truncated(path: Path) -> None:
    os.truncate(path, CHUNK + 1)


@pytest.mark.parametrize("change", [appended, overwritten, truncated])
def test_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "dump.sql"
    path.write_bytes(b"x" * 3 * CHUNK)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    content = Dump("a", file=path).content()
    next(content)
    change(path)
    with pytest.raises(DumpFailed, match="changed while it was read"):
        b"".join(content)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "the file can't be read: No such file or directory"),
        (lambda path: path.mkdir(), "the file can't be read: Is a directory"),
        (lambda path: os.mkfifo(path), "that isn't a file"),
        (lambda path: path.touch(), "the dump is empty"),
    ],
)
def test_unreadable_file_fails_with_its_reason(deposits: Any, tmp_path: Path, make: Any, why: str) -> None:
    make(tmp_path / "dump.sql")
    result = deposits.deposit(Dump("a", file=tmp_path / "dump.sql"))
    assert [database.error for database in result.databases] == [why]
    (report,) = deposits.reports()
    assert report["databases"]["a"]["backup_process"]["message"] == why


PEAK = """
import sys
sys.modules["zstandard"] = None  # the sparse file is no zstd
from vigie_client import DepositFolder, DepositPortal, Dump, Patience, deposit, make_session

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) // 1024

what, where = sys.argv[1:]
dump = {
    "zeros": Dump("a", command="head -c 80000000 /dev/zero"),
    "bomb": Dump("a", command="head -c 80000000 /dev/zero | gzip"),
    "zstd": Dump("a", file="sparse.zst"),
}[what]
place = DepositPortal(where, make_session("t"), Patience(deadline=9)) if where.startswith("http") else DepositFolder(where)
before = peak()
result = deposit([dump], place, agent_id="agent-1", state_dir="state")
assert result.status == "deposited", result
print(peak() - before)
"""

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="/proc")


@needs_proc
@pytest.mark.parametrize("what", ["zeros", "bomb"])
def test_large_dump_needs_little_memory(deposits: Any, start: Any, what: str) -> None:
    grown, _ = start(PEAK, what, deposits.folder).communicate()
    assert int(grown) < 40
    (report,) = deposits.reports()
    assert report["databases"]["a"]["backup_process"]["size"] == 80_000_000


@needs_proc
def test_large_upload_needs_little_memory(portal: Any, start: Any, tmp_path: Path) -> None:
    with (tmp_path / "sparse.zst").open("wb") as file:
        file.write(ZSTD)
        file.truncate(80_000_000)
    grown, _ = start(PEAK, "zstd", portal.url).communicate()
    assert int(grown) < 40
    assert [upload.size for upload in portal.uploads][:1] == [80_000_000]


def test_packed_file_is_readable_by_gunzip(deposits: Any) -> None:
    content = bytes(range(256)) * 10_000
    deposits.deposit(Dump("a", command=[sys.executable, "-c", "import os; os.write(1, bytes(range(256)))"]))
    unzip = [sys.executable, "-m", "gzip", "-d", str(deposits.staged("a.sql.gz"))]
    subprocess.run(unzip, check=True)
    assert deposits.staged("a.sql").read_bytes() == content[:256]
    assert zlib.decompress(deposits.staged("a.sql.gz").read_bytes(), 31) == content[:256]
