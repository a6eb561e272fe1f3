import gzip
import hashlib
import random
from pathlib import Path

import pytest
import zstandard

from backups.drills import limits
from backups.drills.limits import Limits
from backups.drills.outcomes import Aborted
from backups.drills.streams import READ_BYTES, DumpStream

# Does not compress, so that a compressed file is read in several pieces too.
CONTENT = b"BEGIN TRANSACTION;\n" + random.Random(1).randbytes(3 * READ_BYTES) + b"\nCOMMIT;\n"


def open_stream(path: Path, content: bytes, seconds: float = 60) -> DumpStream:
    path.write_bytes(content)
    return DumpStream(open(path, "rb", buffering=0), path.name, Limits(seconds, None))


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.dump", CONTENT),
        ("a.gz", gzip.compress(CONTENT)),
        ("a.gz", gzip.compress(CONTENT[:1_000]) + gzip.compress(CONTENT[1_000:])),
        ("a.zst", zstandard.compress(CONTENT)),
    ],
    ids=["bare", "gzip", "gzip of two members", "zstd"],
)
def test_stream_that_was_peeked_into_and_left_yields_everything_once(name: str, stored: bytes, tmp_path: Path) -> None:
    stream = open_stream(tmp_path / name, stored)

    first = stream.peek(10)
    pieces = []
    for piece in stream:
        pieces.append(piece)
        break
    pieces += list(stream)

    assert first == CONTENT[:10]
    assert b"".join(pieces) == CONTENT
    assert (stream.read, stream.doubts()) == (len(stored), ())


def test_truncated_stream_ends_with_its_doubt(tmp_path: Path) -> None:
    stream = open_stream(tmp_path / "a.gz", gzip.compress(CONTENT)[:-1_000])

    assert CONTENT.startswith(b"".join(stream))
    assert "truncated_gzip" in stream.doubts()


def test_stream_ends_at_its_deadline(tmp_path: Path) -> None:
    stream = open_stream(tmp_path / "a.dump", CONTENT, seconds=-1)

    with pytest.raises(Aborted, match="time_is_up"):
        list(stream)


def test_stream_knows_the_size_and_hash_of_the_stored_file_even_if_it_is_damaged(tmp_path: Path) -> None:
    stored = gzip.compress(CONTENT)[:-1_000] + b"damaged" * READ_BYTES

    stream = open_stream(tmp_path / "a.gz", stored)
    list(stream)

    assert (stream.read, stream.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())


def test_stream_ends_when_the_disk_has_too_little_free_space(tmp_path: Path) -> None:
    stream = open_stream(tmp_path / "a.dump", CONTENT)
    stream.limits.folder, stream.limits.reserve = str(tmp_path), 2**60

    with pytest.raises(Aborted):
        list(stream)

    assert stream.limits.reached == limits.SPACE_IS_LOW
