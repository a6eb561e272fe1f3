"""Small files that unpack into more than a drill may take."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import zstandard

from backups.drills.limits import DISK_IS_FULL, TIME_IS_UP
from backups.drills.outcomes import FAILED, PROVEN, Outcome
from backups.drills.tests import mysql_factories, test_hostile_sqlite, test_postgresql

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have databases of their own")]
MIB = 1024 * 1024
Restore = Callable[..., Outcome]
# The beginning of a dump and its end, and rows that follow each other.
DUMPS: dict[str, tuple[bytes, bytes, bytes]] = {
    "sqlite": (test_hostile_sqlite.HEAD, test_hostile_sqlite.END, b"INSERT INTO a VALUES(NULL,'%b');\n" % (b"x" * 999)),
    "postgresql": (
        test_postgresql.HEAD + test_postgresql.TABLE + b"CREATE TABLE b (t text);\nCOPY b FROM stdin;\n",
        b"\\.\n" + test_postgresql.END, b"x" * 999 + b"\n",
    ),
    "mariadb": (
        mysql_factories.HEAD + mysql_factories.TABLE + b"CREATE TABLE b (t text);\n", mysql_factories.END,
        b"INSERT INTO b VALUES ('%b');\n" % b"'),('".join([b"x" * 999] * 16),
    ),
}  # fmt: skip


def in_members(pieces: list[bytes]) -> bytes:
    """Return an archive of a member for each piece. Those of one piece are packed once."""
    packed = {piece: gzip.compress(piece, 1) for piece in set(pieces)}
    return b"".join(packed[piece] for piece in pieces)


def in_frames(pieces: list[bytes]) -> bytes:
    packed = {piece: zstandard.compress(piece, 1) for piece in set(pieces)}
    return b"".join(packed[piece] for piece in pieces)


PACKINGS: dict[str, tuple[str, Callable[[list[bytes]], bytes]]] = {
    "gzip": ("dump.sql.gz", lambda pieces: gzip.compress(b"".join(pieces), 1)),
    "members": ("dump.sql.gz", in_members),
    "zstd": ("dump.sql.zst", lambda pieces: zstandard.compress(b"".join(pieces), 1)),
    "frames": ("dump.sql.zst", in_frames),
}


@pytest.fixture
def drill(restore: Restore, request: pytest.FixtureRequest, engine: str) -> Restore:
    """Restore on the server of the engine."""
    urls = {"DRILL_POSTGRES_URL": "", "DRILL_MYSQL_URL": ""}
    if engine == "postgresql":
        urls["DRILL_POSTGRES_URL"] = request.getfixturevalue("postgres_18")
    if engine == "mariadb":
        urls["DRILL_MYSQL_URL"] = request.getfixturevalue("mariadb")
    return lambda dump, **given: restore(dump, **urls | given)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("engine", DUMPS)
def test_rows_beyond_the_limit_of_disk_are_not_restored(drill: Restore, engine: str, packing: str) -> None:
    (head, end, row), (name, pack) = DUMPS[engine], PACKINGS[packing]
    bomb = pack([head, *[row * (MIB // len(row))] * 128, end])

    outcome = drill(bomb, name=name, DRILL_MAX_BYTES=24 * MIB)

    assert len(bomb) < 2 * MIB
    assert (outcome.status, outcome.errors) == (FAILED, [{"line": None, **DISK_IS_FULL}])
    assert drill(head + end).status == PROVEN


@pytest.mark.parametrize("engine", DUMPS)
def test_dump_is_not_read_beyond_the_limit_of_time(drill: Restore, engine: str) -> None:
    head, end, row = DUMPS[engine]
    filling = (row if engine == "postgresql" else b"-- x\n;\n") * 1024

    outcome = drill(in_members([head, *[filling] * 100_000, end]), name="dump.sql.gz", DRILL_TIMEOUT_SECONDS=1)

    # The time may be up at any statement.
    assert (outcome.status, [error["code"] for error in outcome.errors]) == (FAILED, [TIME_IS_UP["code"]])


def frame_with_window(content: bytes, exponent: int) -> bytes:
    """Return a frame of Zstandard with one block as it is, whose decompressor needs 2 to the `exponent` bytes."""
    header = bytes([0x28, 0xB5, 0x2F, 0xFD, 0, (exponent - 10) << 3])
    return header + (len(content) << 3 | 1).to_bytes(3, "little") + content


@pytest.mark.parametrize(("exponent", "errors"), [(27, []), (28, ["not_unpacked"]), (31, ["not_unpacked"])])
@pytest.mark.parametrize("engine", ["sqlite"])
def test_window_of_zstd_may_take_128_mib(drill: Restore, engine: str, exponent: int, errors: list[str]) -> None:
    head, end, _row = DUMPS[engine]
    outcome = drill(frame_with_window(head + end, exponent), name="dump.sql.zst")
    assert (outcome.status, [error["code"] for error in outcome.errors]) == (FAILED if errors else PROVEN, errors)
