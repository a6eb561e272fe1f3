"""`docs/restoring.md`: its commands restore dumps with the programs and servers of each engine, as they are there."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.test import Client
from django.urls import reverse

from backups.tests.admin_pages import job_page
from backups.tests.factories import make_entry
from demo.mariadb import is_installed
from portal.tests.helpers.admin_pages import page_text
from portal.tests.helpers.programs import require
from tests.postgres import debian_binaries

pytestmark = [pytest.mark.slow, pytest.mark.one_database("the guide's programs have servers of their own")]
GUIDE = (Path(__file__).parents[3] / "docs" / "restoring.md").read_text(encoding="utf-8")
STORED = "Exemple SARL/Paris/accounts/current_version/accounts.sql.gz"
ROWS = 7
TABLES = f"""
CREATE TABLE invoice (id integer PRIMARY KEY, customer varchar(40));
INSERT INTO invoice VALUES {", ".join(f"({number}, 'GRANT {number}')" for number in range(ROWS))};
"""


def commands(section: str) -> str:
    """Return the shell commands below a heading of the guide."""
    text = re.split(r"^## ", GUIDE.partition(f"\n## {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, section
    return "".join(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def follow(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs sections of the guide, one after the other, and stops at a command that fails."""

    def following(*sections: str, user: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "".join(map(commands, sections))],
            cwd=folder,
            env=os.environ | {"HOME": str(folder), "VALIDATED_ROOT": str(folder / "validated")} | environment,
            user=user,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return following


def store(folder: Path, dump: str) -> None:
    path = folder / "validated" / STORED
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(dump.encode()))


def has_all_rows(done: subprocess.CompletedProcess[str]) -> bool:
    """Return True if the last query counted the rows and nothing failed. A failed test shows the output."""
    assert done.returncode == 0, done.stdout
    return re.search(rf"^\W*{ROWS}$", done.stdout, re.MULTILINE) is not None


def is_refused(done: subprocess.CompletedProcess[str], folder: Path) -> bool:
    assert done.returncode != 0, done.stdout
    return not list(folder.glob("hacked"))


# --- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_dump() -> str:
    require(shutil.which("sqlite3"), "sqlite3", "sqlite3")
    return f"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n{TABLES}COMMIT;\n"


def test_dump_of_sqlite_is_restored(follow: Any, folder: Path, sqlite_dump: str) -> None:
    store(folder, sqlite_dump)
    assert has_all_rows(follow("Get the file", "SQLite"))
    with sqlite3.connect(folder / "restored.sqlite3") as restored:
        assert restored.execute("SELECT count(*) FROM invoice").fetchall() == [(ROWS,)]


def test_command_in_a_dump_of_sqlite_is_refused(follow: Any, folder: Path, sqlite_dump: str) -> None:
    store(folder, f"{sqlite_dump}.shell touch hacked\n")
    assert is_refused(follow("Get the file", "SQLite"), folder)


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgres(postgres_debian: str) -> Iterator[dict[str, str]]:
    """Make the database of the guide, and yield how to connect to its server, where nothing of the guide is yet."""
    roles = ["accounts", "restorer", "auditor"]
    with psycopg.connect(postgres_debian, autocommit=True) as server:
        server.execute("CREATE ROLE accounts")
        server.execute("CREATE ROLE auditor")
        server.execute("CREATE DATABASE accounts OWNER accounts")
        with psycopg.connect(postgres_debian.replace("/postgres?", "/accounts?")) as database:
            database.execute("SET ROLE accounts")
            database.execute(TABLES)
            database.execute("GRANT SELECT ON invoice TO auditor")
        yield {"PGHOST": postgres_debian.rpartition("host=")[2], "PGUSER": "postgres"}
        for name in ("accounts", "accounts_restored"):
            server.execute(f"DROP DATABASE IF EXISTS {name}")
        for role in roles:
            server.execute(f"DROP ROLE IF EXISTS {role}")


def dump_with(program: str, *options: str, **environment: str) -> bytes:
    return subprocess.run([program, *options], env=os.environ | environment, stdout=subprocess.PIPE, check=True).stdout


def leave_only_a_role(server: dict[str, str]) -> None:
    """Have the server lack what the dump needs, but for the role that is only granted something."""
    for statement in ("DROP DATABASE accounts", "DROP ROLE accounts"):
        dump_with("psql", "--command", statement, "postgres", **server)


def test_plain_dump_of_postgresql_is_restored(follow: Any, folder: Path, postgres: dict[str, str]) -> None:
    store(folder, dump_with("pg_dump", "accounts", **postgres).decode())
    leave_only_a_role(postgres)
    done = follow("Get the file", "PostgreSQL, plain SQL", **postgres)
    assert has_all_rows(done)
    assert "\naccounts\nauditor\n" in done.stdout


def test_command_in_a_dump_of_postgresql_is_refused(follow: Any, folder: Path, postgres: dict[str, str]) -> None:
    store(folder, dump_with("pg_dump", "accounts", **postgres).decode() + "\\! touch hacked\n")
    leave_only_a_role(postgres)
    done = follow("Get the file", "PostgreSQL, plain SQL", **postgres)
    assert is_refused(done, folder)
    assert "backslash commands are restricted" in done.stdout


@pytest.mark.parametrize("format", ["-Fc", "-Ft"])
def test_archive_of_postgresql_is_restored(follow: Any, folder: Path, postgres: dict[str, str], format: str) -> None:
    (folder / "accounts.dump").write_bytes(dump_with("pg_dump", format, "accounts", **postgres))
    assert has_all_rows(follow("PostgreSQL, archives", **postgres))


@pytest.fixture
def unprivileged() -> Iterator[tuple[Path, str | None]]:
    """Yield a folder and a user for a server of PostgreSQL, which root may not start."""
    user = None if os.geteuid() else "postgres"
    with tempfile.TemporaryDirectory(prefix="vigie-guide-") as directory:
        if user:
            shutil.chown(directory, user)
        yield Path(directory), user
        stop_server(Path(directory) / "restored" / "postmaster.pid")


def stop_server(pid_file: Path) -> None:
    """Stop the server of a guide that failed halfway."""
    if pid_file.exists():
        os.kill(int(pid_file.read_text().partition("\n")[0]), signal.SIGQUIT)


class TestWholeServer:
    @pytest.fixture
    def folder(self, unprivileged: tuple[Path, str | None]) -> Path:
        return unprivileged[0]

    def test_dump_of_a_whole_server_is_restored(
        self, follow: Any, folder: Path, postgres: dict[str, str], unprivileged: tuple[Path, str | None]
    ) -> None:
        dump = folder / "server.sql.gz"
        dump.write_bytes(gzip.compress(dump_with("pg_dumpall", **postgres)))
        dump.chmod(0o644)
        path = f"{debian_binaries()}:{os.environ['PATH']}"
        assert has_all_rows(follow("PostgreSQL, a whole server", user=unprivileged[1], PATH=path))
        assert (folder / "accounts.dump").read_bytes().startswith(b"PGDMP")
        assert not (folder / "restored").exists()


# --- MySQL and MariaDB -----------------------------------------------------------------------------------------------

CLIENT = "/*M!999999\\- enable the sandbox mode */ \n"


@pytest.fixture
def mariadb_dump(mariadb: str, folder: Path) -> Iterator[str]:
    """Yield a dump with a view that the administrator defined, whose server has no such database any longer."""
    assert is_installed()
    (folder / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={mariadb.rpartition('unix_socket=')[2]}\n")
    home = {"HOME": str(folder)}
    database = f"CREATE DATABASE accounts; USE accounts; {TABLES} CREATE VIEW v AS SELECT * FROM invoice"
    dump_with("mariadb", "--execute", database, **home)
    yield dump_with("mariadb-dump", "--routines", "accounts", **home).decode()
    clean_up = "DROP DATABASE accounts; DROP DATABASE accounts_restored; DROP USER restorer@localhost"
    dump_with("mariadb", "--execute", clean_up, **home)


def test_dump_of_mariadb_is_restored(follow: Any, folder: Path, mariadb_dump: str) -> None:
    store(folder, mariadb_dump)
    assert has_all_rows(follow("Get the file", "MySQL and MariaDB"))


def test_command_in_a_dump_of_mariadb_is_refused(follow: Any, folder: Path, mariadb_dump: str) -> None:
    store(folder, mariadb_dump.removeprefix(CLIENT) + "\\! touch hacked\n")
    assert is_refused(follow("Get the file", "MySQL and MariaDB"), folder)


# --- The way to the guide --------------------------------------------------------------------------------------------


def test_page_of_a_database_with_a_stored_version_leads_to_the_guide(admin_client: Client, make_job: Any) -> None:
    job, empty = make_job("accounts"), make_job("other")
    make_entry(job, promotion="promoted")
    link = f'follow <a href="{reverse("admin:help")}">docs/restoring.md</a>'
    assert link in page_text(admin_client.get(job_page(job)))
    assert link not in page_text(admin_client.get(job_page(empty)))
    assert "restoring.md" in page_text(admin_client.get(reverse("admin:help")))
