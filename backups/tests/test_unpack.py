"""Doubts found by unpacking a dump, without a scan."""

import gzip
import io
import lzma
import random
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
import zstandard

from backups.scanner import unpack
from backups.scanner.unpack import MAGIC_BYTES, ContentCheck

DUMPS = Path(__file__).resolve().parents[2] / "client/tests/dumps"
SQL = (DUMPS / "pg_dump.sql").read_bytes()
CUSTOM, TAR = (DUMPS / "pg_dump-custom.dump").read_bytes(), (DUMPS / "pg_dump-tar.dump").read_bytes()
SKIPPABLE = b"\x50\x2a\x4d\x18\4\0\0\0abcd"
RANDOM = random.Random(1)


def gz(content, level=6):
    return gzip.compress(content, level, mtime=0)


def zst(content, **options):
    return zstandard.ZstdCompressor(**options).compress(content)


def bgzip(content):
    """Return members with a size in their header, and an empty one at the end."""
    members = []
    for start in [*range(0, len(content), 200), len(content)]:
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        part = content[start : start + 200]
        packed = deflate.compress(part) + deflate.flush()
        extra = struct.pack("<2sHH", b"BC", 2, len(packed) + 25)
        header = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H", len(extra)) + extra
        members.append(header + packed + struct.pack("<II", zlib.crc32(part), len(part)))
    return members


def doubts(name, content, step=256 * 1024, **options):
    check = ContentCheck(name, content[:MAGIC_BYTES], **options)
    for start in range(0, len(content), step):
        check.feed(memoryview(content)[start : start + step])
    return check.doubts()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.sql.gz", gz(SQL)),
        ("a.sql.gz", gz(SQL[:500]) + gz(SQL[500:])),
        ("a.sql.gz", b"".join(bgzip(SQL))),
        ("a.sql.gz", gz(SQL) + b"\0"),
        ("a.sql.gz", gz(SQL[:500]) + b"\0" * 700 + gz(SQL[500:]) + b"\0" * 700),
        ("a.sql.gz", gz(b"") * 20_000 + gz(SQL)),
        ("a.sql.gz", gz(CUSTOM)),
        ("a.sql.gz", gz(TAR)),
        ("a.sql.zst", zst(SQL)),
        ("a.sql.zst", zst(SQL, write_checksum=True)),
        ("a.sql.zst", SKIPPABLE + zst(SQL[:500]) + SKIPPABLE + zst(SQL[500:])),
        ("a.sql.zst", zst(SQL) + b"\0" * 5),
        ("a.sql.zst", zst(CUSTOM)),
        ("a.dump", CUSTOM),
        ("a.dump", TAR),
        ("a.dump", SQL),
    ],
)
@pytest.mark.parametrize("step", [1009, 256 * 1024])
def test_whole_dump_has_no_doubt(name, content, step):
    assert doubts(name, content, step) == ()


@pytest.fixture(scope="module")
def blanks():
    """Return a dump compressed to less than a 512th, as of a table of blanks or zeros."""
    return gz(SQL.replace(b"\\.\n", (b"1\t" + b" " * 2_000 + b"\n") * 40_000 + b"\\.\n"), 9)


@pytest.mark.parametrize("step", [1009, 256 * 1024])
def test_whole_dump_of_blanks_has_no_doubt(blanks, step):
    assert doubts("a.sql.gz", blanks, step) == ()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.sql.gz", b"", ["empty"]),
        ("a.sql.zst", b"", ["empty"]),
        ("a.dump", b"", ["empty"]),
        ("a.sql.gz", gz(b""), ["empty"]),
        ("a.sql.gz", gz(b"\n"), ["empty"]),
        ("a.sql.gz", gz(b"\0" * 5_000_000), ["not_a_dump"]),
        ("a.sql.zst", zst(b""), ["empty"]),
        ("a.sql.zst", SKIPPABLE, ["empty"]),
        ("a.sql.gz", gz(SQL)[:-9], ["truncated_gzip"]),
        ("a.sql.gz", gz(SQL)[:10], ["truncated_gzip"]),
        ("a.sql.gz", gz(SQL)[:3], ["truncated_gzip"]),
        ("a.sql.gz", gz(SQL)[:-8] + b"\1" + gz(SQL)[-7:], ["truncated_gzip"]),
        ("a.sql.gz", gz(SQL) + gz(SQL)[:-9], ["truncated_gzip"]),
        ("a.sql.zst", zst(SQL)[:-9], ["truncated_zstd"]),
        ("a.sql.zst", zst(SQL)[:4], ["truncated_zstd"]),
        ("a.sql.zst", zst(SQL, write_checksum=True)[:-1] + b"\0", ["truncated_zstd"]),
        ("a.sql.gz", b"".join(bgzip(SQL)[:-3]), ["incomplete"]),
        ("a.sql.zst", zst(SQL[:-200]), ["incomplete"]),
        ("a.dump", CUSTOM[:-100], ["incomplete"]),
        ("a.dump", TAR[:-600], ["incomplete"]),
        ("a.sql.gz", gz(SQL) + b"x", ["trailing_garbage"]),
        ("a.sql.gz", gz(SQL) + b"\0\0rubbish", ["trailing_garbage"]),
        ("a.sql.zst", zst(SQL) + b"rubbish", ["trailing_garbage"]),
        ("a.sql.gz", gz(SQL[:-200]) + b"rubbish", ["trailing_garbage", "incomplete"]),
        ("a.sql.gz", gz(gz(SQL)), ["not_a_dump"]),
        ("a.sql.gz", zst(SQL), ["misnamed"]),
        ("a.sql.zst", gz(SQL), ["misnamed"]),
        ("a.sql.zst", SQL, ["misnamed"]),
        ("a.dump", gz(CUSTOM), ["misnamed"]),
        ("a.sql.gz", lzma.compress(SQL), ["misnamed", "not_a_dump"]),
        ("a.sql.gz", gz(SQL)[:1], ["misnamed", "not_a_dump"]),
        ("a.sql.gz", CUSTOM, ["misnamed"]),
        ("a.sql.zst", TAR, ["misnamed"]),
        ("a.dump", b"pg_dump: error: connection refused\n", ["not_a_dump"]),
    ],
)
@pytest.mark.parametrize("reads", [1, 2_000])
def test_doubtful_content_is_named(name, content, expected, reads):
    step = max(7, len(content) // reads)
    assert doubts(name, content, step) == tuple(expected)


def test_padding_is_no_truncation_at_any_read_boundary():
    content = gz(SQL[:300]) + b"\0\0" + gz(SQL[300:]) + b"\0\0\0"
    assert {doubts("a.sql.gz", content, step) for step in range(1, len(content) + 1)} == {()}
    for size in range(16_000, 17_000):
        member = gz(b"-- " + RANDOM.randbytes(size).replace(b"\n", b" "))
        if len(member) % unpack.GZIP.slice == unpack.GZIP.slice - 1:
            break
    assert doubts("a.sql.gz", member + b"\0" * 600) == ()


@pytest.mark.parametrize("name", ["a.sql.gz", "a.sql.zst", "a.dump"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", ["empty"]), (gz(b""), ["empty"]), (zst(b""), ["empty"]), (gz(b"one")[:-3], []), (b"no dump", [])],
)
def test_shallow_check_finds_only_an_empty_dump(name, content, expected):
    assert doubts(name, content, deep=False) == tuple(expected)


@pytest.mark.parametrize("over", ["time", "memory"])
def test_check_beyond_its_budget_is_a_warning(monkeypatch, over):
    content = zst(SQL)
    if over == "time":
        monkeypatch.setattr(unpack, "BUDGET_SECONDS", -1)
    else:
        window = zstandard.ZstdCompressionParameters(window_log=28)
        packed = io.BytesIO()
        with zstandard.ZstdCompressor(compression_params=window).stream_writer(packed, closefd=False) as writer:
            writer.write(SQL)
        content = packed.getvalue()
    assert doubts("a.sql.zst", content) == ("not_unpacked",)


def test_tar_of_another_program_has_no_doubt():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("dump/a.sql"))
    assert doubts("a.sql.gz", gz(packed.getvalue())) == ()
