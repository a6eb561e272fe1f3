"""What is read of a statement of MySQL, whatever comments it has."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from backups.drills.mysql import statements
from backups.drills.mysql.server import to_number

TOKEN = statements._TOKEN
# A statement, and how MariaDB 10.11.6 reads it.
COMMENTS = {
    "SET # x\nSTATEMENT a": "SET STATEMENT a",
    "SET -- x\nSTATEMENT a": "SET STATEMENT a",
    "SET --\x01x\nSTATEMENT a": "SET STATEMENT a",
    "SET/**/STATEMENT a": "SET STATEMENT a",
    "SET /*!999990 x */ STATEMENT a": "SET STATEMENT a",
    "SET /*!80000 x */ STATEMENT a": "SET STATEMENT a",
    "SET /*! STATEMENT */ a": "SET STATEMENT a",
    "SET /*!40101 a */ = /*M!100100 1*/": "SET a = 1",
    "SET /*!40101 /* x */ a */ = 1": "SET a = 1",
    "SET /*!40101 /*!999990 x */ a */ = 1": "SET a = 1",
    "SET a = 1--2": "SET a = 1--2",
    "SET a = 3*/* x */2": "SET a = 3* 2",
    "SET a = '# x', b = \"/* x */\", `-- c` = '\\'# x'": "SET a = '# x', b = \"/* x */\", `-- c` = '\\'# x'",
    "SET a = 1 -- x": "SET a = 1",
    "SET a = 1 /* x": "SET a = 1",
}


def is_read(mark: bytes, version: int) -> bool:
    return version <= 101106 and not (50700 <= version <= 99999 and not mark)


@pytest.mark.parametrize("text", COMMENTS)
def test_comments_are_removed_and_executable_ones_are_opened(text: str) -> None:
    read = statements.without_comments(text.encode(), is_read)
    assert statements.read_head(read) == COMMENTS[text]
    assert read.count(b"\n") == text.count("\n")


def test_quote_that_is_not_closed_is_searched_once() -> None:
    text = b"SET a = '" + b"\\'# x" * 100_000
    searched: list[int] = []

    def count(text: bytes, position: int) -> re.Match[bytes] | None:
        searched.append(position)
        return TOKEN.search(text, position)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "_TOKEN", SimpleNamespace(search=count))
        assert statements.without_comments(text, is_read) == text
    assert len(searched) == 2


@pytest.mark.parametrize(("version", "number"), [("10.11.6-MariaDB", 101106), ("8.0.36", 80036), ("9.1", 90100)])
def test_version_is_a_number_as_comments_have_it(version: str, number: int) -> None:
    assert to_number(version) == number


@pytest.mark.parametrize(
    ("statement", "is_filling"),
    [
        ("CREATE TABLE a AS SELECT 1", True),
        ("CREATE OR REPLACE TABLE a VALUES (1)", True),
        ("CREATE TABLE a (c int COMMENT '\\') AS SELECT 1 -- ')", True),
        ("CREATE TABLE a TABLE b", True),
        ("CREATE TABLE a (`select` int COMMENT 'SELECT ''1''')", False),
        ("CREATE TABLE a (c text COMMENT '\\\\ \\'')", False),
        (
            "CREATE TABLE a (c int) PARTITION BY LIST (c) (PARTITION p VALUES IN (1), PARTITION q VALUES LESS THAN (2))",
            False,
        ),
        ("CREATE VIEW a AS SELECT 1", False),
    ],
)
def test_table_filled_while_it_is_made_is_recognized(statement: str, is_filling: bool) -> None:
    assert statements.fills_table(statement.encode(), statement) is is_filling
