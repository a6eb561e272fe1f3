"""Hostile dumps of PostgreSQL: refused or bounded, named in the record, with no effect outside their own database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backups.drills import child, limits
from backups.drills.assertions import Assertion
from backups.drills.limits import DISK_IS_FULL, TIME_IS_UP
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome, Reason, SandboxUnavailable
from backups.drills.postgresql import sandbox
from backups.drills.postgresql.roles import DrillRole, sweep
from backups.drills.tests.dumps import reasons_of
from backups.drills.tests.test_postgresql import COPY, END, HEAD, TABLE, leftovers
from backups.reasons import format_error

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("connection.",)),
]
MEGABYTE = 1024 * 1024
# What an administrator of a shared server may do, and the other database of that server.
PREPARED = (
    "CREATE ROLE drill_admin LOGIN CREATEDB CREATEROLE",
    "CREATE ROLE other_owner",
    "CREATE DATABASE others OWNER other_owner",
)
STATE = (
    "SELECT datname, datdba, datacl::text, datconnlimit, datallowconn FROM pg_database ORDER BY datname",
    "SELECT r.*, s.setconfig FROM pg_roles r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid ORDER BY rolname",
    "SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2",
    "SELECT spcname FROM pg_tablespace",
    "SELECT name, setting, source FROM pg_settings WHERE context <> 'internal' ORDER BY name",
    "SELECT gid FROM pg_prepared_xacts",
)


@pytest.fixture(scope="module")
def superuser(postgres_debian: str) -> str:
    """A superuser of a server with the extensions that reach outside."""
    with psycopg.connect(postgres_debian, autocommit=True) as connection:
        for statement in PREPARED:
            connection.execute(statement)
        with psycopg.connect(postgres_debian, dbname="others", autocommit=True) as inside:
            inside.execute("CREATE TABLE secret AS SELECT 'hidden' AS word")
    return postgres_debian


@pytest.fixture(scope="module")
def admin(superuser: str) -> str:
    return superuser.replace("postgres@", "drill_admin@")


@pytest.fixture
def drill(admin: str, tmp_path: Path) -> Callable[..., Outcome]:
    """Restore statements after a table in this process, which is quicker than in one of its own."""

    def drill(statements: str, *assertions: Assertion, **given: Any) -> Outcome:
        dump = tmp_path / "dump.sql"
        dump.write_bytes(HEAD + TABLE + statements.encode() + b"\n" + END)
        task: dict[str, Any] = {"name": dump.name, "folder": str(tmp_path), "kind": None, "seconds": 60, "max_bytes": 0}
        task |= {"reserve": 0, "postgres_url": admin, "assertions": [vars(assertion) for assertion in assertions]}
        return child.drill(task | {"descriptor": os.open(dump, os.O_RDONLY)} | given)

    return drill


@pytest.fixture
def unharmed(superuser: str, drill: Callable[..., Outcome]) -> Iterator[None]:
    """Check that a test changes neither the server nor any file, and that the next drill works."""
    before = state_of(superuser)
    yield
    assert state_of(superuser) == before
    assert leftovers(superuser) == []
    assert not Path("/tmp/drill_mark").exists()
    assert drill(COPY.decode()).status == PROVEN


def state_of(url: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        found = [connection.execute(query).fetchall() for query in STATE]
    with psycopg.connect(url, dbname="others") as connection:
        return [*found, connection.execute("SELECT relname, relacl::text FROM pg_class ORDER BY oid").fetchall()]


# Name, statements, and the errors that the record must have.
REFUSED: list[tuple[str, str, list[str]]] = [
    ("shell", "\\! touch /tmp/drill_mark", ["\\!: refused"]),
    ("shell_with_end", "SELECT 1 \\! touch /tmp/drill_mark\n;", ["SELECT: syntax_error"]),
    ("include", "\\i /etc/passwd", ["\\i: refused"]),
    ("include_relative", "\\ir passwd", ["\\ir: refused"]),
    ("psql_copy", "\\copy a to program 'touch /tmp/drill_mark'", ["\\copy: refused"]),
    ("output", "\\o |touch /tmp/drill_mark", ["\\o: refused"]),
    ("g_pipe", "SELECT 1 \\g |touch /tmp/drill_mark\n;", ["SELECT: syntax_error"]),
    ("gexec", "SELECT 'DROP TABLE a' \\gexec\n;", ["SELECT: syntax_error"]),
    ("setenv", "\\setenv PAGER 'touch /tmp/drill_mark'", ["\\setenv: refused"]),
    ("backquotes", "\\set x `touch /tmp/drill_mark`", ["\\set: refused"]),
    ("connect", "\\connect others\nSELECT * FROM secret;", ["\\connect: refused", "SELECT: undefined_table"]),
    ("connect_created", "CREATE DATABASE b;\n\\connect b\n\\connect others", ["\\connect: refused"]),
    ("connect_elsewhere", "\\connect \"dbname='others' host='127.0.0.1'\"", ["\\connect: refused"]),
    ("copy_to_program", "COPY a TO PROGRAM 'touch /tmp/drill_mark';", ["COPY: insufficient_privilege"]),
    ("copy_from_program", "COPY a FROM PROGRAM 'touch /tmp/drill_mark';", ["COPY: insufficient_privilege"]),
    ("copy_to_file", "COPY a TO '/tmp/drill_mark';", ["COPY: insufficient_privilege"]),
    ("copy_from_file", "COPY a FROM '/etc/passwd';", ["COPY: insufficient_privilege"]),
    ("lo_import", "SELECT lo_import('/etc/passwd');", ["SELECT: insufficient_privilege"]),
    ("lo_export", "SELECT lo_export(lo_from_bytea(0, 'x'), '/tmp/drill_mark');", ["SELECT: insufficient_privilege"]),
    ("read_file", "SELECT pg_read_file('/etc/passwd');", ["SELECT: insufficient_privilege"]),
    ("read_binary", "SELECT pg_read_binary_file('/etc/passwd');", ["SELECT: insufficient_privilege"]),
    ("list_files", "SELECT pg_ls_dir('/');", ["SELECT: insufficient_privilege"]),
    ("passwords", "SELECT rolpassword FROM pg_authid;", ["SELECT: insufficient_privilege"]),
    ("alter_system", "ALTER SYSTEM SET archive_command = 'touch /tmp/drill_mark';", ["ALTER: permission denied"]),
    ("reload", "SELECT pg_reload_conf();", ["SELECT: insufficient_privilege"]),
    ("set_role", "DO $$ BEGIN EXECUTE 'SET ROLE postgres'; END $$;", ["DO: insufficient_privilege"]),
    ("set_admin", "DO $$ BEGIN EXECUTE 'SET ROLE drill_admin'; END $$;", ["DO: insufficient_privilege"]),
    (
        "set_session",
        "DO $$ BEGIN EXECUTE 'SET SESSION AUTHORIZATION postgres'; END $$;",
        ["DO: insufficient_privilege"],
    ),
    ("set_config_role", "SELECT set_config('role', 'postgres', false);", ["SELECT: insufficient_privilege"]),
    ("create_role", "DO $$ BEGIN EXECUTE 'CREATE ROLE evil SUPERUSER'; END $$;", ["DO: insufficient_privilege"]),
    ("alter_role", "DO $$ BEGIN EXECUTE 'ALTER ROLE CURRENT_USER SUPERUSER'; END $$;", ["DO: insufficient_privilege"]),
    ("grant_admin", "DO $$ BEGIN EXECUTE 'GRANT drill_admin TO CURRENT_USER'; END $$;", ["DO: insufficient_privilege"]),
    ("create_database", "SELECT 1; /**/ CREATE /**/ DATABASE evil;", ["CREATE: permission denied to create database"]),
    ("drop_database", "DROP /**/ DATABASE others;", ["DROP: must be owner of database others"]),
    ("rename_database", "ALTER /**/ DATABASE others RENAME TO mine;", ["ALTER: must be owner of database others"]),
    (
        "security_definer",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT pg_read_file('/etc/passwd') $$;\n"
        "ALTER FUNCTION f() OWNER TO postgres;\nSELECT f();",
        ["SELECT: insufficient_privilege"],
    ),
    (
        "owner_in_do",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE a OWNER TO postgres'; END $$;",
        ["DO: insufficient_privilege"],
    ),
    (
        "event_trigger",
        "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';\n"
        "CREATE /**/ EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION e();",
        ["CREATE: insufficient_privilege"],
    ),
    ("wrapper", "CREATE /**/ FOREIGN DATA WRAPPER w;", ["CREATE: permission denied to create foreign-data wrapper"]),
    (
        "subscription",
        "CREATE /**/ SUBSCRIPTION s CONNECTION 'dbname=others' PUBLICATION p;",
        ["CREATE: must be superuser to create subscriptions"],
    ),
    (
        "c",
        "CREATE FUNCTION system(cstring) RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'system';",
        ["CREATE: permission denied for language c"],
    ),
    ("load", "LOAD '/tmp/drill_mark.so';", ["LOAD: access to library"]),
    ("tablespace", "CREATE /**/ TABLESPACE t LOCATION '/tmp';", ["CREATE: permission denied to create tablespace"]),
    ("catalog", "UPDATE pg_catalog.pg_database SET datallowconn = false;", ["UPDATE: insufficient_privilege"]),
    ("terminate", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity;", ["SELECT: insufficient_privilege"]),
    ("terminate_self", "SELECT pg_terminate_backend(pg_backend_pid());", ["The server ended the session"]),
    ("prepared", "BEGIN;\nCREATE TABLE b (x int);\nPREPARE TRANSACTION 'left';", ["PREPARE: object_not_in_prerequisite_state"]),
    ("close_door", "DO $$ BEGIN EXECUTE 'ALTER ROLE CURRENT_USER PASSWORD ''x'''; END $$;", []),
    (
        "few_connections",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', current_database()); END $$;",
        ["The server refuses another session"],
    ),
    (
        "no_connections",
        "DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, CURRENT_USER', current_database()); END $$;",
        ["The server refuses another session"],
    ),
    (
        "template",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I IS_TEMPLATE true', current_database()); END $$;",
        [],
    ),
    (
        "closed_template",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I IS_TEMPLATE true CONNECTION LIMIT 0',"
        " current_database()); END $$;",
        ["The server refuses another session"],
    ),
    (
        "disowned",
        "DO $$ BEGIN EXECUTE format('REVOKE %I FROM drill_admin', current_user); EXCEPTION WHEN OTHERS THEN END $$;",
        [],
    ),
    ("copy_out", "COPY (SELECT repeat('x', 1000000)) TO STDOUT;", []),
    ("hidden_second", "SET standard_conforming_strings = off;\nSELECT 'a\\'; DROP DATABASE others; --';", ["SELECT: syntax_error"]),
    ("zero_byte", "SELECT 'a\0b';", ["SELECT: syntax_error"]),
    ("unfinished_copy", "COPY a FROM stdin;\n1\tx\n", ["The dump ends within the rows"]),
    ("empty", ";\n" * 1_000_000, []),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "errors"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@pytest.mark.usefixtures("unharmed")
def test_hostile_statements_are_refused(drill: Callable[..., Outcome], statements: str, errors: list[str]) -> None:
    outcome = drill(statements)
    found = [format_error(error) for error in outcome.errors]
    assert len(found) == len(errors), found
    assert all(message.startswith(error) for message, error in zip(found, errors, strict=True)), found
    assert outcome.status == (FAILED if errors else PROVEN)


LEFT_OUT: list[tuple[str, dict[str, str]]] = [
    ("CREATE ROLE evil SUPERUSER;", {"code": "users_left_out"}),
    ("ALTER ROLE CURRENT_USER SUPERUSER;", {"code": "users_left_out"}),
    ("SET ROLE postgres;", {"code": "users_left_out"}),
    ("SET SESSION AUTHORIZATION postgres;", {"code": "users_left_out"}),
    ("GRANT ALL ON a TO PUBLIC;", {"code": "users_left_out"}),
    ("CREATE DATABASE evil;", {"code": "databases_left_out"}),
    ("ALTER DATABASE others SET work_mem = '1GB';", {"code": "databases_left_out"}),
    ("CREATE TABLESPACE evil LOCATION '/tmp';", {"code": "tablespaces_left_out"}),
    ("CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION e();", {"code": "outside_left_out", "kind": "EVENT TRIGGER"}),
    ("CREATE SERVER s FOREIGN DATA WRAPPER dblink_fdw;", {"code": "outside_left_out", "kind": "SERVER"}),
    ("CREATE EXTENSION dblink;", {"code": "extension_missing", "extension": "dblink"}),
    ('CREATE EXTENSION "no such";', {"code": "extension_missing", "extension": "no such"}),
    ("SET session_replication_role = replica;", {"code": "setting_ignored", "setting": "session_replication_role"}),
    ("SET log_statement = 'all';", {"code": "setting_ignored", "setting": "log_statement"}),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "warning"), LEFT_OUT)
@pytest.mark.usefixtures("unharmed")
def test_statements_beyond_the_database_are_left_out(
    drill: Callable[..., Outcome], statement: str, warning: dict[str, str]
) -> None:
    outcome = drill(statement)
    assert (outcome.status, outcome.errors, outcome.warnings) == (PROVEN, [], [warning])


EXTENSIONS = {
    "dblink": "SELECT dblink_connect('dbname=others');",
    "postgres_fdw": "CREATE /**/ SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname 'others');",
    "file_fdw": "CREATE /**/ SERVER s FOREIGN DATA WRAPPER file_fdw;",
    "plpython3u": "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'import os';",
}


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.usefixtures("unharmed")
def test_extensions_that_reach_outside_are_unsupported(drill: Callable[..., Outcome], extension: str) -> None:
    outcome = drill(f"CREATE EXTENSION {extension};\n{EXTENSIONS[extension]}")
    warnings = [{"code": "extension_missing", "extension": extension}]
    assert (outcome.status, outcome.errors, outcome.warnings) == (UNSUPPORTED, [], warnings)


STUBBORN = """
CREATE FUNCTION f() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN
  LOOP BEGIN PERFORM pg_sleep(1e9); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
END $$;
"""
TRIGGER = """
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM f(); END';
CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION t();
"""
SMALL = 32 * MEGABYTE
LIMITED: list[tuple[str, str, dict[str, int], Reason]] = [
    ("sleep", "SELECT pg_sleep(1e9);", {"seconds": 1}, TIME_IS_UP),
    ("stubborn", STUBBORN + "SELECT f();", {"seconds": 1}, TIME_IS_UP),
    ("loop", "DO $$ BEGIN LOOP NULL; END LOOP; END $$;", {"seconds": 1}, TIME_IS_UP),
    ("recursion", "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT max(1) FROM r;", {"seconds": 1}, TIME_IS_UP),
    ("output", "COPY (SELECT generate_series(1, 1000000000)) TO STDOUT;", {"seconds": 1}, TIME_IS_UP),
    ("statements", "SELECT 1;\n" * 500_000, {"seconds": 1}, TIME_IS_UP),
    ("copy", STUBBORN + TRIGGER + "COPY a FROM stdin;\n" + "1\tx\n" * 1_000_000 + "\\.\n", {"seconds": 2}, TIME_IS_UP),
    ("disk", "INSERT INTO a SELECT generate_series(1, 1000000000), repeat('x', 1000);", {"max_bytes": SMALL}, DISK_IS_FULL),
    (
        "indexes",
        "CREATE TABLE b AS SELECT g FROM generate_series(1, 300000) g;\n" + "CREATE INDEX ON b (g);\n" * 100,
        {"max_bytes": SMALL},
        DISK_IS_FULL,
    ),
    (
        "large_objects",
        "SELECT lo_from_bytea(0, string_agg(sha512(g::text::bytea), '')) FROM generate_series(1, 100000000) g GROUP BY g / 1000;",
        {"max_bytes": SMALL},
        DISK_IS_FULL,
    ),
    (
        "hidden_size",
        "DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, CURRENT_USER', current_database()); END $$;\n"
        "INSERT INTO a SELECT generate_series(1, 1000000000), repeat('x', 1000);",
        {"max_bytes": SMALL},
        DISK_IS_FULL,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "given", "error"), [case[1:] for case in LIMITED], ids=[case[0] for case in LIMITED]
)
@pytest.mark.usefixtures("unharmed")
def test_endless_statements_end_at_a_limit(
    drill: Callable[..., Outcome], statements: str, given: dict[str, int], error: Reason
) -> None:
    outcome = drill(statements, **given)
    assert (outcome.status, reasons_of(outcome)) == (FAILED, [error])


@pytest.mark.usefixtures("unharmed")
def test_result_too_large_for_memory_fails_the_drill(restore: Callable[..., Outcome], admin: str) -> None:
    dump = HEAD + TABLE + b"SELECT repeat('x', 600000000);\n" + END
    outcome = restore(dump, DRILL_POSTGRES_URL=admin)
    assert outcome.errors == [{"line": 8, "message": "SELECT: out_of_memory"}]


SORT = "SELECT count(*) FROM (SELECT g FROM generate_series(1, 100000000) g ORDER BY g DESC) s"


@pytest.mark.parametrize("role", ["postgres@", "drill_admin@"])
def test_temporary_files_of_a_query_end_at_the_limit_of_disk(
    drill: Callable[..., Outcome], superuser: str, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setattr(limits, "LEAST_BYTES", SMALL)
    outcome = drill(f"{SORT};", postgres_url=superuser.replace("postgres@", role))
    assert (outcome.status, reasons_of(outcome)) == (FAILED, [DISK_IS_FULL])


def test_temporary_files_are_bounded_also_between_two_measurements(
    drill: Callable[..., Outcome], superuser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DrillRole, "measure", lambda role: 0)
    outcome = drill(f"{SORT};", postgres_url=superuser, max_bytes=SMALL)
    assert [format_error(error) for error in outcome.errors] == ["SELECT: configuration_limit_exceeded"]


@pytest.mark.usefixtures("unharmed")
def test_assertion_is_bounded_by_the_limits_of_the_drill(drill: Callable[..., Outcome]) -> None:
    outcome = drill("", Assertion("", SORT, "equal", "1"), max_bytes=SMALL)
    assert (outcome.status, reasons_of(outcome)) == (FAILED, [DISK_IS_FULL])


LYING = """
CREATE SCHEMA lies;
CREATE AGGREGATE lies.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '1000');
DO $$ BEGIN EXECUTE 'ALTER ROLE CURRENT_USER SET search_path = lies, pg_catalog, public'; END $$;
"""


@pytest.mark.usefixtures("unharmed")
def test_function_of_the_dump_does_not_count_its_rows(drill: Callable[..., Outcome]) -> None:
    outcome = drill(LYING)
    assert (outcome.status, outcome.rows) == (PROVEN, {"public.a": 0})


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("DELETE FROM a RETURNING id", "read-only transaction"),
        ("CREATE TABLE b (x int)", "read-only transaction"),
        ("SELECT pg_sleep(1e9)", "statement timeout"),
        ("SELECT f()", "terminating connection"),
        ("SELECT lo_unlink(1)", "must be owner of large object 1"),
        ("SELECT id FROM a; SELECT 1", "multiple commands"),
        ("SELECT pg_read_file('/etc/passwd')", "permission denied"),
        ("COPY a TO PROGRAM 'touch /tmp/drill_mark'", "pg_execute_server_program"),
        ("SET ROLE postgres", "permission denied"),
        ("COMMIT", "didn't produce a result"),
    ],
)
@pytest.mark.usefixtures("unharmed")
def test_assertion_cannot_leave_its_query(
    drill: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, query: str, error: str
) -> None:
    monkeypatch.setattr(sandbox, "QUERY_SECONDS", 1)
    monkeypatch.setattr(sandbox, "PATIENCE_SECONDS", 0.5)
    outcome = drill(STUBBORN + "SELECT lo_create(1);", Assertion("", query, "equal", "1"))
    assert outcome.assertions[0]["ok"] is False
    assert error in format_error(outcome.assertions[0]["error"])
    assert outcome.status == PROVEN


def test_database_that_cannot_be_dropped_is_no_silent_leftover(superuser: str) -> None:
    role = DrillRole(superuser, None)
    role.admin.execute(f"GRANT CREATE ON DATABASE others TO {role.name}")
    with pytest.raises(SandboxUnavailable, match=f"{role.name}: role .* cannot be dropped"):
        role.close()
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"REVOKE ALL ON DATABASE others FROM {role.name}")
    sweep(superuser)
    assert leftovers(superuser) == []
