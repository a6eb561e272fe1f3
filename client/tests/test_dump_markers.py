"""Doubts about dumps by their first and last bytes, on recorded output of the programs in `dumps/`."""

import sqlite3
from pathlib import Path

import pytest

from vigie_client.contract import DUMP_HEAD_BYTES, DUMP_TAIL_BYTES, dump_doubts, is_error_message

DUMPS = {path.name: path.read_bytes() for path in (Path(__file__).parent / "dumps").iterdir()}
TEXTS = {name: content for name, content in DUMPS.items() if name.endswith(".sql")}
# --compact writes neither a head nor an end; of an empty database there is next to nothing to cut.
NAMED = sorted(name for name in DUMPS if not name.endswith(("compact.sql", "custom-empty.dump", "sqlite3-empty.sql")))
MYSQL_8 = b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost    Database: shop\n"
ROWS = b"".join(b"INSERT INTO item VALUES (%d,'tea');\n" % number for number in range(5_000))
REFUSED = b'pg_dump: error: connection to server failed: FATAL:  password authentication failed for user "backup"\n'


def doubts(content):
    return dump_doubts(content[:DUMP_HEAD_BYTES], content[-DUMP_TAIL_BYTES:])


@pytest.mark.parametrize("name", sorted(DUMPS))
def test_complete_dump_has_no_doubts(name):
    assert doubts(DUMPS[name]) == ()


@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.parametrize(
    "changed",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + b"\n\n",
        lambda text: text + b"SELECT 1;\n",
        lambda text: text + text,
        lambda text: text + b"\0" * 700,
    ],
    ids=["Windows line ends", "byte order mark", "blank lines", "statement appended", "twice", "padding"],
)
def test_surrounding_text_does_not_make_a_dump_incomplete(name, changed):
    assert doubts(changed(TEXTS[name])) == ()


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("percent", [60, 75, 85])
def test_cut_dump_is_incomplete(name, percent):
    assert doubts(DUMPS[name][: len(DUMPS[name]) * percent // 100]) == ("incomplete",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (MYSQL_8 + ROWS + b"-- Dump completed on 2026-11-30  2:38:47\n", ()),
        (MYSQL_8 + ROWS, ("incomplete",)),
        (MYSQL_8, ("incomplete",)),
        # The second of two dumps in one file is cut.
        (DUMPS["mariadb-dump.sql"] + DUMPS["mariadb-dump.sql"][:400], ("incomplete",)),
        (DUMPS["pg_dumpall-globals.sql"] + DUMPS["pg_dump.sql"], ()),
        (DUMPS["pg_dumpall-globals.sql"] + DUMPS["pg_dump.sql"][:900], ("incomplete",)),
        # pg_dumpall ends where the pg_dump of one database fails.
        (DUMPS["pg_dumpall.sql"].rpartition(b"\\unrestrict")[0], ("incomplete",)),
        # A large dump, so that head and tail have no byte in common.
        (DUMPS["pg_dump.sql"].replace(b"\\.\n", b"3\tx\n" * 100_000 + b"\\.\n"), ()),
        (DUMPS["pg_dump.sql"].partition(b"\\.\n")[0] + b"3\tx\n" * 100_000, ("incomplete",)),
        (ROWS, ()),
        (b"-- a comment\n# another\n/* and\n one */\n" + ROWS.lower(), ()),
        (b"\\set x 1\n", ()),
        (b"-- nothing but a comment\n", ()),
        (b"", ("empty",)),
        (b"\n \r\n", ("empty",)),
        (b"\n" * 200_000, ("empty",)),
        (b"\0" * 200_000, ("not_a_dump",)),
        (REFUSED, ("not_a_dump",)),
        (b"Use of uninitialized value\n", ("not_a_dump",)),
        (b"ERROR 1045 (28000): Access denied\n", ("not_a_dump",)),
        (b"<!DOCTYPE html>\n<title>502</title>\n", ("not_a_dump",)),
        (b"\x1f\x8b\x08\0\0\0\0\0", ("not_a_dump",)),
        (b"SQLite format 3\0" + b"\0" * 4096, ("not_a_dump",)),
        (DUMPS["pg_dump.sql"].decode().encode("utf-16"), ("not_a_dump",)),
        # The messages of the program are in its output.
        (b"mysqldump: [Warning] Using a password can be insecure.\n" + MYSQL_8 + ROWS, ("not_a_dump", "incomplete")),
    ],
)
def test_content_has_the_expected_doubts(content, expected):
    assert doubts(content) == expected


@pytest.mark.parametrize("tables", [0, 2])
def test_cut_dump_of_python_sqlite3_is_incomplete(tables):
    with sqlite3.connect(":memory:") as database:
        for number in range(tables):
            database.execute(f"CREATE TABLE t{number} (id integer, name text)")
            database.execute(f"INSERT INTO t{number} VALUES (1, 'COMMIT;')")
        content = "\n".join(database.iterdump()).encode()
    assert (doubts(content), doubts(content[:-8])) == ((), ("incomplete",))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (REFUSED, True),
        (b"mysqldump: Got error: 1045\r\n", True),
        (b"mysqldump: [Warning] Using a password can be insecure.\n" + MYSQL_8, False),
        (DUMPS["pg_dump.sql"], False),
        (b"a format of somebody else", False),
    ],
)
def test_error_message_is_distinguished_from_a_dump(content, expected):
    assert is_error_message(content) is expected
