"""Hostile dumps on a private PostgreSQL server: the next drill on it finds nothing of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from backups.drills import child
from backups.drills.limits import SPACE_IS_LOW
from backups.drills.outcomes import FAILED, PROVEN, Outcome, SandboxUnavailable
from backups.drills.postgresql import cluster
from backups.drills.tests.test_cluster import BINARIES
from backups.drills.tests.test_hostile_postgresql import LEFT_OUT, REFUSED
from backups.drills.tests.test_postgresql import COPY, END, HEAD, TABLE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("connection.",)),
]
# What all databases share.
SHARED = (
    "SELECT oid, d.*::text FROM pg_database d ORDER BY 1",
    "SELECT oid, r.*::text FROM pg_authid r ORDER BY 1",
    "SELECT m.*::text FROM pg_auth_members m ORDER BY 1",
    "SELECT s.*::text FROM pg_db_role_setting s ORDER BY 1",
    "SELECT d.*::text FROM pg_shdescription d ORDER BY 1",
    "SELECT l.*::text FROM pg_shseclabel l ORDER BY 1",
    "SELECT d.*::text FROM pg_shdepend d WHERE dbid NOT IN (SELECT oid FROM pg_database) ORDER BY 1",
    "SELECT oid, t.*::text FROM pg_tablespace t ORDER BY 1",
    "SELECT p.*::text FROM pg_parameter_acl p ORDER BY 1",
    "SELECT s.*::text FROM pg_subscription s ORDER BY 1",
    "SELECT r.*::text FROM pg_replication_origin r ORDER BY 1",
    "SELECT slot_name::text FROM pg_replication_slots ORDER BY 1",
    "SELECT gid FROM pg_prepared_xacts ORDER BY 1",
    "SELECT name, setting, source FROM pg_settings WHERE context <> 'internal' ORDER BY 1",
    "SELECT name, setting FROM pg_file_settings ORDER BY 1",
    "SELECT name, size FROM pg_ls_tmpdir() ORDER BY 1",
    "SELECT usename::text FROM pg_stat_activity WHERE usename <> 'vigie' ORDER BY 1",
    "SELECT locktype, objid FROM pg_locks WHERE locktype = 'advisory' ORDER BY 1, 2",
)
# What a new database copies or what a session could find in another one.
WITHIN = (
    "SELECT oid, c.relname::text, c.relacl::text FROM pg_class c ORDER BY 1",
    "SELECT oid, p.proname::text, p.proacl::text FROM pg_proc p ORDER BY 1",
    "SELECT oid, n.*::text FROM pg_namespace n ORDER BY 1",
    "SELECT oid, l.*::text FROM pg_language l ORDER BY 1",
    "SELECT d.*::text FROM pg_default_acl d ORDER BY 1",
    "SELECT e.*::text FROM pg_event_trigger e ORDER BY 1",
    "SELECT e.*::text FROM pg_extension e ORDER BY 1",
    "SELECT l.*::text FROM pg_largeobject_metadata l ORDER BY 1",
)
DATABASES = ("postgres", "template1", "template0")
HONEST = COPY.decode()
# What succeeds within its own database or with its own role, and must end with them.
KEPT: dict[str, str] = {
    "comments": "COMMENT ON DATABASE {0} IS ''x'';",
    "setting_of_role": "ALTER ROLE {0} SET work_mem = ''1GB'';",
    "setting_of_role_here": "ALTER ROLE {0} IN DATABASE {0} SET search_path = evil;",
    "setting_of_database": "ALTER DATABASE {0} SET search_path = evil;",
    "default_privileges": "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;",
    "default_privileges_of_schema": "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO PUBLIC;",
    "public": "GRANT ALL ON DATABASE {0} TO PUBLIC;",
    "large_object": "SELECT lo_create(4242);",
    "advisory_lock": "SELECT pg_advisory_lock(1);",
    "schema_in_path": "CREATE SCHEMA {0}; CREATE TABLE {0}.pg_class (x int);",
    "notifications": "LISTEN x; NOTIFY x, ''y'';",
    "password": "ALTER ROLE {0} PASSWORD NULL;",
}
# What only a superuser may, as the administrator of this server is.
DENIED: dict[str, str] = {
    "event_trigger": "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS ''BEGIN END'';"
    " CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION e();",
    "setting_of_all": "ALTER ROLE ALL SET search_path = evil;",
    "setting_of_admin": "ALTER ROLE vigie SET search_path = evil;",
    "setting_of_postgres": "ALTER DATABASE postgres SET search_path = evil;",
    "setting_of_template": "ALTER DATABASE template1 SET search_path = evil;",
    "comment_on_postgres": "COMMENT ON DATABASE postgres IS ''x'';",
    "comment_on_role": "COMMENT ON ROLE vigie IS ''x'';",
    "comment_on_tablespace": "COMMENT ON TABLESPACE pg_default IS ''x'';",
    "parameter": "GRANT SET ON PARAMETER log_statement TO PUBLIC;",
    "admin": "SET ROLE vigie;",
    "membership": "GRANT vigie TO {0};",
    "reader": "ALTER ROLE {0}_reader SUPERUSER;",
    "program": "COPY a TO PROGRAM ''touch /tmp/drill_mark'';",
    "file": "COPY a FROM ''/etc/passwd'';",
}


@pytest.fixture(scope="module")
def kept() -> Iterator[cluster.Server]:
    """A private server that serves one drill after the other."""
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        Path(folder).chmod(0o755)
        with closing(cluster.Keeper(BINARIES, Path(folder))) as keeper:
            yield keeper.server


@pytest.fixture
def drill(kept: cluster.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Outcome]:
    """Restore statements after a table on the kept server, in this process."""

    def drill(statements: str) -> Outcome:
        dump = tmp_path / "dump.sql"
        dump.write_bytes(HEAD + TABLE + statements.encode() + b"\n" + END)
        task: dict[str, Any] = {"name": dump.name, "folder": str(tmp_path), "kind": None, "seconds": 60, "max_bytes": 0}
        task |= {"reserve": 1, "postgres_url": "", "assertions": []}
        return child.drill(task | {"descriptor": os.open(dump, os.O_RDONLY)})

    monkeypatch.setattr(child, "ask_for_server", lambda: asdict(kept))
    return drill


@pytest.fixture
def unchanged(kept: cluster.Server, drill: Callable[[str], Outcome]) -> Iterator[None]:
    """Check that nothing is left on the server after a test, and that an honest dump is PROVEN on it."""
    before = state_of(kept.url)
    yield
    assert state_of(kept.url) == before
    assert not Path("/tmp/drill_mark").exists()
    outcome = drill(HONEST)
    assert (outcome.status, outcome.rows, outcome.warnings) == (PROVEN, {"public.a": 2}, [])


def state_of(url: str) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = {("", query): connection.execute(query).fetchall() for query in SHARED}
        connection.execute("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
        for database in DATABASES:
            with psycopg.connect(url, dbname=database) as inside:
                found |= {(database, query): inside.execute(query).fetchall() for query in WITHIN}
        connection.execute("ALTER DATABASE template0 ALLOW_CONNECTIONS false")
    return found


def in_block(statement: str) -> str:
    """Return a statement that no rule of the portal leaves out, with the name of the role and database of the drill."""
    commands = " ".join(
        f"EXECUTE format('{part.replace('{0}', '%1$I')}', current_user);" for part in statement.rstrip(";").split("; ")
    )
    return f"DO $$ BEGIN {commands} END $$;"


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.usefixtures("unchanged")
def test_what_a_dump_may_change_ends_with_its_drill(drill: Callable[[str], Outcome], name: str) -> None:
    outcome = drill(in_block(KEPT[name]))
    assert (outcome.status, outcome.errors) == (PROVEN, [])


@pytest.mark.parametrize("name", DENIED)
@pytest.mark.usefixtures("unchanged")
def test_what_the_administrator_may_is_denied_to_a_dump(drill: Callable[[str], Outcome], name: str) -> None:
    outcome = drill(in_block(DENIED[name]))
    assert (outcome.status, [error["message"] for error in outcome.errors]) == (FAILED, ["DO: insufficient_privilege"])


PROVEN_ELSEWHERE = {name: statements for name, statements, errors in REFUSED if not errors} | {
    warning["code"] + str(number): statement
    for number, (statement, warning) in enumerate(LEFT_OUT)
    if "extension" not in warning
}


@pytest.mark.parametrize("name", PROVEN_ELSEWHERE)
@pytest.mark.usefixtures("unchanged")
def test_hostile_dump_that_is_proven_leaves_the_server_as_it_was(drill: Callable[[str], Outcome], name: str) -> None:
    assert drill(PROVEN_ELSEWHERE[name]).status == PROVEN


def test_disk_of_the_private_server_keeps_the_reserve(
    drill: Callable[[str], Outcome], kept: cluster.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {kept.folder: 0}
    monkeypatch.setattr(
        os, "statvfs", lambda folder: SimpleNamespace(f_blocks=1, f_frsize=1, f_bavail=free.get(folder, 1))
    )
    with pytest.raises(SandboxUnavailable) as unavailable:
        drill("SELECT pg_sleep(60);")
    assert unavailable.value.why == SPACE_IS_LOW
