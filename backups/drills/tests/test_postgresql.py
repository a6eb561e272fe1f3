"""Restore dumps of PostgreSQL on a server whose address is set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from backups.drills.assertions import Assertion
from backups.drills.outcomes import FAILED, PROVEN, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have a server of their own")]
HEAD = b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 16.2\n\n"
END = b"\n--\n-- PostgreSQL database dump complete\n--\n"
TABLE = b"CREATE TABLE public.a (id integer PRIMARY KEY, name text);\n"
COPY = b"COPY public.a (id, name) FROM stdin;\n1\tAnna\n2\tBert\n\\.\n"


@pytest.fixture
def restored(restore: Callable[..., Outcome], postgres_18: str) -> Callable[..., Outcome]:
    """Restore statements between the first and last lines of a dump."""

    def restored(statements: bytes, *assertions: Any, **given: Any) -> Outcome:
        return restore(HEAD + statements + END, *assertions, DRILL_POSTGRES_URL=postgres_18, **given)

    return restored


def leftovers(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'vigie_drill%'"
            " UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'vigie_drill%'"
        )
        return [name for (name,) in found]


def test_rows_of_each_table_are_counted(restored: Any) -> None:
    outcome = restored(TABLE + COPY + b'CREATE TABLE "b c" (x int);\nINSERT INTO "b c" VALUES (1);\n')
    assert (outcome.status, outcome.errors) == (PROVEN, [])
    assert outcome.rows == {"public.a": 2, "public.b c": 1}
    assert (outcome.engine, outcome.version) == ("postgresql", "16.2")
    assert outcome.size > 0


def test_nothing_is_left_after_a_drill(restored: Any, postgres_18: str) -> None:
    restored(TABLE + COPY)
    assert leftovers(postgres_18) == []


def test_error_in_a_row_names_its_line_and_no_value(restored: Any) -> None:
    outcome = restored(TABLE + COPY.replace(b"2\tBert", b"1\tBert"))
    assert outcome.status == FAILED
    assert outcome.errors == [{"line": 10, "message": "COPY: unique_violation (table public.a, constraint a_pkey)"}]


def test_rows_of_a_table_that_was_not_made_are_no_statements(restored: Any) -> None:
    outcome = restored(COPY + TABLE)
    assert [error["message"] for error in outcome.errors] == ["COPY: undefined_table"]
    assert outcome.rows == {"public.a": 0}


def test_assertion_reads_one_value(restored: Any) -> None:
    outcome = restored(TABLE + COPY, Assertion("two", "SELECT count(*) FROM a", "equal", "2"))
    assert outcome.assertions == [{"name": "two", "ok": True, "value": 2}]


def test_assertion_cannot_write(restored: Any) -> None:
    outcome = restored(TABLE + COPY, Assertion("", "DELETE FROM a RETURNING id", "equal", "2"))
    assert outcome.assertions[0]["ok"] is False
    assert "permission denied" in outcome.assertions[0]["error"] or "read-only" in outcome.assertions[0]["error"]


def test_schema_has_no_rows(restored: Any) -> None:
    outcome = restored(TABLE + COPY + b"INSERT INTO a VALUES (3, 'Carl');\n")
    assert outcome.schema == TABLE.decode()
