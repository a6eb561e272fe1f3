"""Tell the troubles of a PostgreSQL sandbox, which say nothing about the backup, from those that a dump makes."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backups.drills import child
from backups.drills.limits import DISK_IS_FULL, Limits
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome, SandboxUnavailable
from backups.drills.postgresql import archives, cluster
from backups.drills.postgresql.session import Session
from backups.drills.tests.test_cluster import BINARIES
from backups.drills.tests.test_postgresql import COPY, END, HEAD, TABLE, leftovers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("connection.", "OperationalError")),
]
MANY_TABLES = b"DO $$ BEGIN FOR n IN 1..20000 LOOP EXECUTE 'CREATE TABLE t' || n || ' ()'; END LOOP; END $$;\n"


@pytest.fixture(scope="module")
def small_server() -> Iterator[str]:
    """The address of a server with ten connections, which may crash."""
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        Path(folder).chmod(0o755)
        keeper = cluster.Keeper(BINARIES, Path(folder))
        try:
            yield keeper.server.url
        finally:
            keeper.close()


@pytest.fixture
def drill(small_server: str, tmp_path: Path) -> Callable[..., Outcome]:
    def drill(dump: bytes, **given: Any) -> Outcome:
        path = tmp_path / "dump.sql"
        path.write_bytes(dump)
        task: dict[str, Any] = {"name": path.name, "folder": str(tmp_path), "kind": None, "seconds": 60, "max_bytes": 0}
        task |= {"postgres_url": small_server, "assertions": [], "reserve": 0}
        return child.drill(task | {"descriptor": os.open(path, os.O_RDONLY)} | given)

    return drill


@pytest.fixture
def on_marker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Session], Any]], None]:
    """Do something before the statement `SELECT 'marker'` of a dump."""

    def on_marker(act: Callable[[Session], Any]) -> None:
        run = Session.run

        def acting(session: Session, statement: bytes, *rows: Any) -> Any:
            if b"'marker'" in statement:
                act(session)
            return run(session, statement, *rows)

        monkeypatch.setattr(Session, "run", acting)

    return on_marker


MARKED = HEAD + TABLE + COPY + b"SELECT 'marker';\n" + END


def test_exhausted_memory_of_the_server_is_no_fault_of_the_dump(drill: Any, small_server: str) -> None:
    with pytest.raises(SandboxUnavailable, match="resources_lacking"):
        drill(HEAD + MANY_TABLES + END)
    assert leftovers(small_server) == []


def test_condition_that_a_dump_raises_is_an_error_of_the_dump(drill: Any) -> None:
    outcome = drill(HEAD + b"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'disk_full'; END $$;\n" + END)
    assert [error["message"] for error in outcome.errors] == ["DO: disk_full"]


def test_exhausted_server_is_no_excuse_beyond_the_limit_of_the_drill(drill: Any) -> None:
    outcome = drill(HEAD + MANY_TABLES + END, max_bytes=1024 * 1024)
    assert outcome.errors == [{"line": None, **DISK_IS_FULL}]


def test_server_without_free_connections_is_unavailable(drill: Any, on_marker: Any, small_server: str) -> None:
    with ExitStack() as taken:

        def take_all(session: Session) -> None:
            with suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(psycopg.connect(small_server))

        on_marker(take_all)
        with pytest.raises(SandboxUnavailable, match="sessions_refused"):
            drill(MARKED)


def test_archive_without_space_is_no_fault_of_the_dump() -> None:
    with pytest.raises(SandboxUnavailable, match="No space left"):
        archives.spool([b"PGDMP"], Path("/dev/full"), Limits(60, None))


def test_dump_that_crashes_the_server_fails(drill: Any, on_marker: Any, small_server: str) -> None:
    on_marker(lambda session: os.kill(session.pgconn.backend_pid, signal.SIGKILL))
    outcome = drill(MARKED)
    assert outcome.status == FAILED
    # The server takes a moment to notice.
    assert outcome.errors[-1]["code"] == "server_ended"
    assert leftovers(small_server) == []
    assert drill(HEAD + TABLE + COPY + END).status == PROVEN


def test_server_that_its_operator_stops_is_unavailable(drill: Any, on_marker: Any, small_server: str) -> None:
    def end_all(session: Session) -> None:
        with psycopg.connect(small_server) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    on_marker(end_all)
    with pytest.raises(SandboxUnavailable, match="sessions_ended"):
        drill(MARKED)
    assert leftovers(small_server) == []


NEWER = HEAD.replace(b"16.2", b"99.1")
POSTGIS = b"CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;\n"
GEOMETRY = b"CREATE TABLE public.b (x public.geometry);\n"
FOREIGN = b'CREATE TABLE public.b (x text COLLATE pg_catalog."xx_XX.utf8");\n'
LOCALE = b"CREATE COLLATION public.c (provider = libc, locale = 'xx_XX.utf8');\n"


@pytest.mark.parametrize(
    ("dump", "status", "warning"),
    [
        (HEAD + POSTGIS + GEOMETRY, UNSUPPORTED, "extension_missing"),
        (HEAD + POSTGIS + b"CREATE INDEX ON a USING gist (name public.gist_geometry_ops);\n", UNSUPPORTED, "extension_missing"),
        (HEAD + POSTGIS + TABLE + b"INSERT INTO a VALUES (1), (1);\n" + GEOMETRY, FAILED, "extension_missing"),
        (HEAD + GEOMETRY, FAILED, ""),
        (HEAD + FOREIGN, UNSUPPORTED, "sandbox_differs"),
        (HEAD + LOCALE, UNSUPPORTED, "sandbox_differs"),
        (HEAD + FOREIGN.replace(b"pg_catalog", b"public"), FAILED, ""),
        (NEWER + b"CREATE TABLE b (x integer) NEWLY;\n", UNSUPPORTED, "sandbox_differs"),
        (NEWER + b"CREATE TABLE b (x integer DEFAULT newly());\n", UNSUPPORTED, "sandbox_differs"),
        (NEWER + TABLE + b"INSERT INTO a NEWLY;\n", FAILED, ""),
        (HEAD + b"CREATE TABLE b (x integer) NEWLY;\n", FAILED, ""),
    ],
)  # fmt: skip
def test_dump_that_needs_another_server_is_unsupported(drill: Any, dump: bytes, status: str, warning: str) -> None:
    outcome = drill(dump.replace(b"CREATE INDEX", TABLE + b"CREATE INDEX") + END)
    assert outcome.status == status
    assert [found["code"] for found in outcome.warnings] == [code for code in [warning] if code]


def test_difference_between_servers_names_both(drill: Any) -> None:
    (warning,) = drill(NEWER + b"CREATE TABLE b (x integer) NEWLY;\n" + END).warnings
    assert (warning["dumped"], warning["message"]) == ("PostgreSQL 99.1", "CREATE: syntax_error")
    assert warning["sandbox"].startswith("PostgreSQL 16.")


@pytest.fixture
def offered_language(postgres_18: str) -> Iterator[str]:
    """Offer a trusted language, as the packages of PL/Perl and PL/Tcl do."""
    with tempfile.TemporaryDirectory() as folder, psycopg.connect(postgres_18, autocommit=True) as connection:
        for path, text in LANGUAGE.items():
            Path(folder, path).parent.mkdir(exist_ok=True)
            Path(folder, path).write_text(text)
        for planted in [Path(folder), *Path(folder).rglob("*")]:
            planted.chmod(0o755)  # for the server's user
        connection.execute(f"ALTER SYSTEM SET extension_control_path = '{folder}:$system'")
        connection.execute("SELECT pg_reload_conf()")
        yield postgres_18
        connection.execute("ALTER SYSTEM RESET extension_control_path")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def language_of_template(postgres_18: str) -> Iterator[str]:
    """Make a trusted language in the template of new databases."""
    with psycopg.connect(postgres_18, autocommit=True) as connection:
        connection.execute("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
        with psycopg.connect(postgres_18, dbname="template0") as template:
            template.execute("CREATE TRUSTED LANGUAGE plhostile HANDLER plpgsql_call_handler")
        yield postgres_18
        with psycopg.connect(postgres_18, dbname="template0") as template:
            template.execute("DROP LANGUAGE plhostile")
        connection.execute("ALTER DATABASE template0 ALLOW_CONNECTIONS false")


LANGUAGE = {
    "extension/plhostile.control": "default_version = '1'\nsuperuser = true\ntrusted = true\n",
    "extension/plhostile--1.sql": "CREATE TRUSTED LANGUAGE plhostile HANDLER plpgsql_call_handler;\n",
}
HIDDEN = b"DO $$ BEGIN EXECUTE 'CREATE EXTENSION IF NOT EXISTS plhostile'; EXCEPTION WHEN OTHERS THEN END $$;\n"
HIDDEN += b"CREATE FUNCTION f() RETURNS integer LANGUAGE plhostile AS 'BEGIN RETURN 1; END';\nSELECT f();\n"


@pytest.mark.parametrize("offered", ["offered_language", "language_of_template"])
def test_server_with_another_trusted_language_is_no_sandbox(
    drill: Callable[..., Outcome], request: pytest.FixtureRequest, offered: str
) -> None:
    url = request.getfixturevalue(offered)
    with pytest.raises(SandboxUnavailable) as refused:
        drill(HEAD + TABLE + HIDDEN + END, postgres_url=url)
    assert refused.value.why == {"code": "languages_offered", "names": "plhostile"}
    assert leftovers(url) == []


def test_server_that_cannot_list_its_languages_is_no_sandbox(
    drill: Callable[..., Outcome], offered_language: str
) -> None:
    with psycopg.connect(offered_language) as connection:
        ((folder,),) = connection.execute("SHOW extension_control_path").fetchall()
    Path(folder.partition(":")[0], "extension", "broken.control").write_text("default_version\n")
    with pytest.raises(SandboxUnavailable, match="extension control file"):
        drill(HEAD + TABLE + HIDDEN + END, postgres_url=offered_language)
    assert leftovers(offered_language) == []
