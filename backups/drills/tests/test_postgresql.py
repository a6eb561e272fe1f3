"""Restore dumps of PostgreSQL on a server whose address is set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backups.drills.assertions import Assertion
from backups.drills.limits import Limits
from backups.drills.outcomes import FAILED, POSTGRESQL, PROVEN, Outcome, SandboxUnavailable
from backups.drills.postgresql import sandbox
from backups.drills.recognition import DumpKind

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("connection.",)),
]
HEAD = b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 16.2\n\n"
END = b"\n--\n-- PostgreSQL database dump complete\n--\n"
TABLE = b"CREATE TABLE public.a (id integer PRIMARY KEY, name text);\n"
COPY = b"COPY public.a (id, name) FROM stdin;\n1\tAnna\n2\tBert\n\\.\n"


@pytest.fixture
def restored(restore: Callable[..., Outcome], postgres_18: str) -> Callable[..., Outcome]:
    """Restore statements between the first and last lines of a dump."""

    def restored(statements: bytes, *assertions: Any, url: str = postgres_18) -> Outcome:
        return restore(HEAD + statements + END, *assertions, DRILL_POSTGRES_URL=url)

    return restored


def leftovers(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'vigie_drill%'"
            " UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'vigie_drill%'"
        )
        return [name for (name,) in found]


def count_sessions(url: str) -> int:
    """Return how many sessions others have on the server."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    with psycopg.connect(url) as connection:
        return int(connection.execute(others).fetchall()[0][0])


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
    assert any(text in outcome.assertions[0]["error"]["message"] for text in ("permission denied", "read-only"))


def test_schema_has_no_rows(restored: Any) -> None:
    outcome = restored(TABLE + COPY + b"INSERT INTO a VALUES (3, 'Carl');\n")
    assert outcome.schema == TABLE.decode()


def test_role_that_may_only_create_databases_and_roles_suffices(restored: Any, postgres_18: str) -> None:
    with psycopg.connect(postgres_18, autocommit=True) as connection:
        connection.execute("CREATE ROLE drill_admin LOGIN CREATEDB CREATEROLE")
        try:
            url = postgres_18.replace("postgres:@", "drill_admin:@")
            outcome = restored(TABLE + COPY, Assertion("two", "SELECT count(*) FROM a", "equal", "2"), url=url)
            assert (outcome.status, outcome.errors, outcome.assertions[0]["value"]) == (PROVEN, [], 2)
            assert leftovers(postgres_18) == []
        finally:
            connection.execute("DROP ROLE drill_admin")


def test_server_that_does_not_answer_is_unavailable(restored: Any) -> None:
    with pytest.raises(SandboxUnavailable, match="No such file"):
        restored(TABLE, url="postgresql://u:secret@/postgres?host=/nonexistent")


def test_statements_after_an_error_in_a_transaction_are_not_counted(restored: Any) -> None:
    outcome = restored(TABLE + b"BEGIN;\nSELECT 1/0;\nINSERT INTO a VALUES (1);\nSELECT 2;\nCOMMIT;\n")
    assert outcome.errors == [{"line": 9, "message": "SELECT: division_by_zero"}]
    assert outcome.rows == {"public.a": 0}


NAMED = b"INSERT INTO a VALUES (5, 'secret');\n"
RAISES = b"CREATE FUNCTION r() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = '%b'; END $$;\n"


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (b"INSERT INTO a VALUES (5, 'secret'), (5, 'secret');", "INSERT: unique_violation"),
        (b"INSERT INTO a SELECT 'secret', 'x';", "INSERT: invalid_text_representation"),
        (b"COPY a FROM stdin;\nsecret\tx\n\\.\n", "COPY: invalid_text_representation"),
        (b"INSERT INTO a VALUES (5, 'secret');\nALTER TABLE a ALTER name TYPE integer USING name::integer;", "ALTER: invalid_text_representation"),
        (b"INSERT INTO a VALUES (5, 'secret');\nCREATE INDEX ON a ((name::integer));", "CREATE: invalid_text_representation"),
        (RAISES % b"P0001" + b"CREATE TABLE b AS SELECT r();", "CREATE: raise_exception"),
        (RAISES % b"42P01" + b"CREATE TABLE b AS SELECT r();", "CREATE: undefined_table"),
        (RAISES % b"25P99" + b"SELECT r();", "SELECT: SQLSTATE 25P99"),
        (NAMED + b"CREATE TABLE b AS SELECT name::regclass FROM a;", "CREATE: undefined_table"),
        (NAMED + b"CREATE MATERIALIZED VIEW b AS SELECT name::regclass FROM a;", "CREATE: undefined_table"),
        (NAMED + b"CREATE VIEW c AS SELECT 1 AS case; SELECT name::regclass FROM a;", "undefined_table"),
        (NAMED + b"ALTER TABLE a ALTER name TYPE regclass;", "ALTER: undefined_table"),
        (NAMED + b"ALTER TABLE a ADD CHECK (name::regclass > 1);", "ALTER: undefined_table"),
        (NAMED + b"CREATE FUNCTION r(text) RETURNS oid IMMUTABLE LANGUAGE sql RETURN $1::regclass;\nCREATE INDEX ON a (r(name));", "CREATE: undefined_table"),
        (NAMED + b"DO $$ BEGIN RAISE unique_violation USING TABLE = (SELECT name FROM a); END $$;", "DO: unique_violation"),
        (NAMED + b"DO $$ BEGIN RAISE unique_violation USING COLUMN = (SELECT name FROM a), TABLE = 'a'; END $$;", "DO: unique_violation"),
        (NAMED + b"DO $$ BEGIN RAISE unique_violation USING CONSTRAINT = (SELECT name FROM a); END $$;", "DO: unique_violation"),
        (NAMED + b"DO $$ BEGIN RAISE unique_violation USING SCHEMA = (SELECT name FROM a), TABLE = 'a'; END $$;", "DO: unique_violation"),
        (b"secret\tx;", "Statement: syntax_error"),
        (b"CREATE secret x;", "CREATE: syntax_error"),
    ],
)  # fmt: skip
def test_errors_hold_no_value_of_a_row(restored: Any, statements: bytes, message: str) -> None:
    outcome = restored(TABLE + statements + b"\n")
    assert outcome.status == FAILED
    assert message in outcome.errors[0]["message"]
    assert "secret" not in str(outcome.errors)


def test_names_of_an_error_are_not_searched_in_another_encoding(restored: Any) -> None:
    outcome = restored(TABLE + b"SET client_encoding = 'SJIS';\nINSERT INTO a VALUES (1, ''), (1, '');\n")
    assert outcome.errors == [{"line": 9, "message": "INSERT: unique_violation"}]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (b"CREATE TABLE b (x integer DEFAULT 1, y public.geometry);", 'CREATE: type "public.geometry" does not exist'),
        (b"CREATE VIEW b AS SELECT * FROM other;", 'CREATE: relation "other" does not exist'),
        (b"CREATE INDEX i ON public.b USING btree (x);", 'CREATE: relation "public.b" does not exist'),
        (b"ALTER TABLE ONLY a ADD CONSTRAINT k UNIQUE (b);", 'ALTER: column "b" named in key does not exist'),
        (b"INSERT INTO a VALUES (NULL, 'secret');", "INSERT: not_null_violation (table public.a, column id)"),
    ],
)
def test_errors_of_definitions_say_what_is_missing(restored: Any, statement: bytes, message: str) -> None:
    assert [error["message"] for error in restored(TABLE + statement + b"\n").errors] == [message]


def test_restored_rows_never_reach_the_servers_log(restored: Any, postgres_18: str) -> None:
    outcome = restored(b"CREATE TABLE s AS SELECT name, setting FROM pg_settings;\n" + TABLE + b"SELECT 1;\n",
        Assertion("", "SELECT count(*) FROM s WHERE (name, setting) IN (('log_min_messages', 'fatal'), ('log_statement', 'none'))", "equal", "2"),
    )  # fmt: skip
    assert outcome.assertions[0]["ok"]


@pytest.mark.parametrize("others", [b"", b"\\connect other\n" + TABLE])
def test_tables_of_a_cluster_are_named_with_their_database(restore: Any, postgres_18: str, others: bytes) -> None:
    head, end = (text.replace(b"database dump", b"database cluster dump") for text in (HEAD, END))
    outcome = restore(head + b"\\connect shop\n" + TABLE + COPY + others + end, DRILL_POSTGRES_URL=postgres_18)
    assert (outcome.status, outcome.errors) == (PROVEN, [])
    assert outcome.rows == {"shop.public.a": 2} | ({"other.public.a": 0} if others else {})


def test_kept_schema_is_bounded_as_it_arrives(
    postgres_18: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "MAX_SCHEMA_BYTES", 200)
    outcome = Outcome()
    with closing(sandbox.Sandbox(postgres_18, DumpKind(POSTGRESQL), Limits(60, None), tmp_path)) as opened:
        opened.restore([TABLE, b"SET work_mem = '1MB';\n" * 1000], outcome)
        kept = opened.schemas[opened.database]
    assert kept[0] == TABLE.decode().strip()
    assert sum(map(len, kept)) < 200
