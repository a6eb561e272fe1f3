"""From a dump to the deposited file: the same bytes for the same dump, whole or not at all, in constant memory."""

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

from vigie_client import Dump
from vigie_client.dump_errors import DumpFailed
from vigie_client.dumps import CHUNK
from vigie_client.packing import pack

ZSTD = b"\x28\xb5\x2f\xfd"


def packed(*chunks: bytes, name: str = "") -> tuple[Any, bytes]:
    written: list[bytes] = []
    result = pack(iter(chunks), written.append, name=name)
    return result, b"".join(written)


def test_it_hashes_and_measures_what_it_writes() -> None:
    result, content = packed(b"a" * 1000, b"b" * 1000)
    assert gzip.decompress(content) == b"a" * 1000 + b"b" * 1000
    assert (result.sha256, result.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (result.raw_size, result.suffix) == (2000, ".gz")


def test_an_unchanged_dump_has_an_unchanged_hash(deposits: Any, tmp_path: Path) -> None:
    results = []
    for name, seconds in (("one", 1_000_000_000), ("two", 1_700_000_000)):
        (tmp_path / name).write_bytes(b"the same" * 1000)
        os.utime(tmp_path / name, (seconds, seconds))
        results.append(deposits.deposit(Dump("a", file=tmp_path / name), now=lambda seconds=seconds: seconds))
    assert results[0].databases == results[1].databases
    header = deposits.staged("a.sql.gz").read_bytes()[:10]
    assert (header[:3], header[3], header[4:8]) == (b"\x1f\x8b\x08", 0, b"\0\0\0\0")  # flags: no name; no time


def test_the_hash_does_not_hang_on_how_the_bytes_come() -> None:
    assert packed(b"a", b"b", b"c" * 5000) == packed(b"abcc", b"c" * 4998)


@pytest.mark.parametrize("content", [gzip.compress(b"dump"), gzip.compress(b"du") + gzip.compress(b"mp") + b"\0" * 700])
@pytest.mark.parametrize("pieces", [1, 3, 100_000])
def test_it_passes_whole_gzip_on_as_it_is(content: bytes, pieces: int) -> None:
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
        (gzip.compress(b"dump")[:-8] + b"\0" * 8, "damaged"),
        (gzip.compress(b"dump") + b"rest", "damaged"),
        (gzip.compress(b""), "empty"),
        (b"", "empty"),
        (b"plain", "isn't what its name says"),
        (ZSTD + b"x", "isn't what its name says"),
    ],
)
def test_it_passes_no_broken_gzip_on(content: bytes, why: str) -> None:
    with pytest.raises(DumpFailed, match=why):
        packed(content, name="dump.sql.gz")


@pytest.mark.parametrize("content", [ZSTD + os.urandom(100), b"\x53\x2a\x4d\x18" + os.urandom(100)])
def test_it_passes_zstd_on_under_its_own_suffix(deposits: Any, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dump.sql.zst").write_bytes(content)
    result = deposits.deposit(Dump("a", file=tmp_path / "dump.sql.zst"))
    assert deposits.staged("a.sql.zst").read_bytes() == content
    assert not deposits.staged("a.sql.gz").exists()
    assert result.databases[0].sha256 == hashlib.sha256(content).hexdigest()
    (report,) = deposits.reports()
    assert report["databases"]["a"]["backup_process"]["size"] == len(content)


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b"x")])
def test_it_passes_nothing_on_as_zstd_that_is_not(content: bytes) -> None:
    with pytest.raises(DumpFailed, match="isn't what its name says"):
        packed(content, name="DUMP.SQL.ZST")


def test_it_does_not_compress_a_commands_gzip_once_more(deposits: Any) -> None:
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
def test_a_file_that_changes_while_it_is_read_is_no_dump(tmp_path: Path, change: Callable[[Path], None]) -> None:
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
def test_it_says_why_a_file_is_no_dump(deposits: Any, tmp_path: Path, make: Any, why: str) -> None:
    make(tmp_path / "dump.sql")
    result = deposits.deposit(Dump("a", file=tmp_path / "dump.sql"))
    assert [database.error for database in result.databases] == [why]
    (report,) = deposits.reports()
    assert report["databases"]["a"]["backup_process"]["message"] == why


PEAK = """
import sys
from vigie_client import DepositFolder, DepositPortal, Dump, Patience, deposit, make_session

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) // 1024

what, where = sys.argv[1:]
dump = {
    "zeros": Dump("a", command="head -c 200000000 /dev/zero"),
    "bomb": Dump("a", command="head -c 200000000 /dev/zero | gzip"),
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
def test_it_takes_little_memory_for_a_large_dump(deposits: Any, start: Any, what: str) -> None:
    grown, _ = start(PEAK, what, deposits.folder).communicate()
    assert int(grown) < 40
    (report,) = deposits.reports()
    assert report["databases"]["a"]["backup_process"]["size"] == 200_000_000


@needs_proc
def test_it_takes_little_memory_for_a_large_upload(portal: Any, start: Any, tmp_path: Path) -> None:
    with (tmp_path / "sparse.zst").open("wb") as file:
        file.write(ZSTD)
        file.truncate(200_000_000)
    grown, _ = start(PEAK, "zstd", portal.url).communicate()
    assert int(grown) < 40
    assert [upload.size for upload in portal.uploads][:1] == [200_000_000]


def test_its_gzip_is_what_gunzip_reads(deposits: Any) -> None:
    content = bytes(range(256)) * 10_000
    deposits.deposit(Dump("a", command=[sys.executable, "-c", "import os; os.write(1, bytes(range(256)))"]))
    unzip = [sys.executable, "-m", "gzip", "-d", str(deposits.staged("a.sql.gz"))]
    subprocess.run(unzip, check=True)
    assert deposits.staged("a.sql").read_bytes() == content[:256]
    assert zlib.decompress(deposits.staged("a.sql.gz").read_bytes(), 31) == content[:256]
