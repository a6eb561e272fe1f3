"""The databases and users of a drill on a server of MariaDB, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from backups.drills.assertions import Assertion
from backups.drills.mysql import server
from backups.drills.outcomes import FAILED, PROVEN, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have a server of their own")]
HEAD = b"-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB\n--\n-- Server version\t10.11.6-MariaDB\n\n"
END = b"\n-- Dump completed on 2026-11-20 13:04:00\n"
TABLE = b"CREATE TABLE `a` (`id` int PRIMARY KEY, `name` text);\nINSERT INTO `a` VALUES (1,'Anna'),(2,'B;\\'ert');\n"


@pytest.fixture
def restored(restore: Callable[..., Outcome], mariadb: str) -> Callable[..., Outcome]:
    """Restore statements between the first and last lines of a dump."""

    def restored(statements: bytes, *assertions: Any, **given: Any) -> Outcome:
        return restore(HEAD + statements + END, *assertions, **{"DRILL_MYSQL_URL": mariadb} | given)

    return restored


def leftovers(url: str) -> list[str]:
    with closing(server.connect(server.parse_url(url))) as admin:
        found = server.fetch(
            admin,
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'vigie%'"
            " UNION ALL SELECT USER FROM mysql.user WHERE USER LIKE 'vigie%'",
        )
    return [name for (name,) in found]


def test_rows_of_each_table_are_counted_and_nothing_is_left(restored: Any, mariadb: str) -> None:
    outcome = restored(TABLE, Assertion("two", "SELECT count(*) FROM a", "equal", "2"))
    assert (outcome.status, outcome.rows, outcome.errors) == (PROVEN, {"a": 2}, [])
    assert (outcome.engine, outcome.version) == ("mariadb", "10.11.6")
    assert outcome.assertions == [{"name": "two", "ok": True, "value": 2}]
    assert leftovers(mariadb) == []


def test_error_of_a_row_names_the_table_and_no_value(restored: Any) -> None:
    outcome = restored(TABLE + b"INSERT INTO `a` VALUES (1,'secret');\n")
    assert outcome.status == FAILED
    assert outcome.errors == [{"line": 7, "message": "INSERT `a`: ER_DUP_ENTRY"}]
